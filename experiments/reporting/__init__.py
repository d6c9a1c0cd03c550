"""One page of HTML of finished results, which needs no network; `experiments.report` is its program."""
