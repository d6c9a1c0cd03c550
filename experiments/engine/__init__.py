"""From a configuration to rows: units of work, their store, and the executors that run them."""
