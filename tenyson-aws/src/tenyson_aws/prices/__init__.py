"""What an instance costs: AWS's price list, and a catalogue for when it cannot be read."""
