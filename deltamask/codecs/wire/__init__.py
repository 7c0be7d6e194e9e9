"""What messages are made of: header and seal, pictures, range-coded words, dense floats."""
