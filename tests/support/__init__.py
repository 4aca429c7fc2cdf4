"""Parts that tests share: tiny models built on the spot, small rows, places of real data."""
