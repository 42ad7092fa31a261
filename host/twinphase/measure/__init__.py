"""Small measurements that take record batches one after the other, from a live node and a recording alike."""
