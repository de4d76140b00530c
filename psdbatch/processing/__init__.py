"""What runs on a worker: its admission, the block task, the program of its batch job."""
