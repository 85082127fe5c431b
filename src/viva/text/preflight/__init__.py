"""What is seen of data before a step is spent."""
