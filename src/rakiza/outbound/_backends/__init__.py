"""What carries outgoing calls: one file for each library."""
