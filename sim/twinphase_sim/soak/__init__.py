"""Model against native gateware at scale: pairs of block sifters over chunks of random heralds, protocol by protocol."""
