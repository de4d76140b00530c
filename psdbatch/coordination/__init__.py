"""What runs beside the workers: coordinator, dispatcher, and the commands that look after its jobs."""
