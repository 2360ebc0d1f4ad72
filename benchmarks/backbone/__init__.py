"""The recipe of the built-in backbone: corpus, tokenizer, pre-training, export."""
