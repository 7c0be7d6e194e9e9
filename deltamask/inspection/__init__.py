"""One payload taken apart: which byte means what, what damage does, what another codec would send."""
