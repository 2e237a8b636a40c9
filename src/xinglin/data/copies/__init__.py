"""What is there more than once: copies among records, and items of benchmarks in training text."""
