"""Files and processes: digests, parts that resume, progress."""
