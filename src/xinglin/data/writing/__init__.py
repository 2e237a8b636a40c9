"""How texts are written: what they consist of, how they end and repeat themselves, and one writing for all."""
