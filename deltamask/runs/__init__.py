"""Run folders: written atomically, read as data, carried out, exported and imported."""
