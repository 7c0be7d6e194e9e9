"""DeltaMask's methods over Flower: an adapter that carries their bytes. No mathematics in here."""
