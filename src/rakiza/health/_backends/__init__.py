"""What is looked at outside the process."""
