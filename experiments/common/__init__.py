"""What every program shares: files, configuration, tables and figures; `llm` may import this part alone."""
