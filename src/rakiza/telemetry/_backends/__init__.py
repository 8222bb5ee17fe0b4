"""One file per place that traces go to."""
