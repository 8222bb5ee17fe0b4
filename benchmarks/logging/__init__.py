"""What a log line costs, against the usual libraries."""
