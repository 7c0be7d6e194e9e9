"""What messages give away; differential privacy: what a run promises, what keeps it, what has been spent. No torch."""
