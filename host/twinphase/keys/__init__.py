"""From sifted bits to keys: what runs at each user's host after a block has closed."""
