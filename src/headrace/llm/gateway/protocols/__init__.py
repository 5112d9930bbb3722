"""What is sent to an endpoint and read from it: a file for each protocol."""
