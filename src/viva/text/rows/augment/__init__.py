"""How rows are made of others, one file a kind, each with a `Config` that is a `text.rows.augmented.Augment`.

The four operations are those of EDA (Wei and Zou 2019, https://arxiv.org/abs/1901.11196, section 2). Of l words each
changes n = max(1, floor(share l)); the paper's share is 0.05 for a few hundred rows and 0.1 for more, with 16 to 4
copies in all (table 3).
"""
