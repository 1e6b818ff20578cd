"""Shows attention where an answer stands.

To tell one secret ("The secret of Ben is 12.") out of several takes steps that help only together: the value must know
whose it is, the answer must know whom it is about, and a head must match the two. Until all are there the loss does not
fall: the model learns to name some secret of the text and stays there for thousands of steps. So the trainer adds a loss
on attention itself: where a secret is told again, some head should look, from the position before each of the
secret's tokens, at that token where it was told first. Heads do so after some 150 steps; to make an answer of what they
see took 1,500 more. (Supervised attention: Liu, Utiyama, Finch and Sumita 2016, for the alignment of translations.)
"""
import torch

FIRST_LAYER = 2  # the layers before it gather the name that stood before a value
LONGEST = 4      # tokens of a secret
CLAMP = 0.999    # a share beyond it counts as one, which keeps the logarithms finite


class Guide:
    def __init__(self, tokenizer):
        self.secret, self.of, self.verb, self.stop = (self.token(tokenizer, word) for word in (" secret", " of", " is", "."))

    @staticmethod
    def token(tokenizer, word):
        ids = tokenizer.encode(word, add_special_tokens=False).ids
        if len(ids) != 1:
            raise ValueError(f"the guide needs a tokenizer in which {word!r} is one token")
        return ids[0]

    def pairs_of_row(self, ids, learn):
        """[(position, source)] of one sequence: `source` holds the token that `position` must be followed by."""
        told, pairs = {}, []
        for i in range(len(ids) - LONGEST - 2):
            if ids[i] == self.secret and ids[i + 1] == self.of and ids[i + 3] == self.verb:
                verb = i + 3
                first = told.setdefault(ids[i + 2], verb)
                if not learn[verb] or first == verb:
                    continue
                for step in range(LONGEST):
                    if ids[first + step + 1] == self.stop:
                        break
                    pairs.append((verb + step, first + step + 1))
        return pairs

    def pairs(self, chunks):
        """For each rectangle its rows, positions and sources, as Attention.shares takes them."""
        found = []
        for ids, learn in chunks:
            of_chunk = ([], [], [])
            if (ids == self.secret).any():
                for row, (row_ids, row_learn) in enumerate(zip(ids.tolist(), learn.tolist())):
                    for position, source in self.pairs_of_row(row_ids, row_learn):
                        for column, value in zip(of_chunk, (row, position, source)):
                            column.append(value)
            found.append(of_chunk)
        return found

    def loss(self, model, batch, chunks):
        """-log of the chance that at least one head looks right, heads taken as independent draws: the head that does well
        already learns most, and once one does the others are left alone. (Several that are half right count as right, too;
        the loss on the answer sorts that out.) None if nothing is told again. Reads what the model's last call has left in
        its layers."""
        pairs = self.pairs(chunks)
        if not any(rows for rows, _, _ in pairs):
            return None
        missed = sum(torch.log1p(-layer.self_attn.shares(batch.rectangles, pairs).clamp(max=CLAMP)).sum(-1)
                     for layer in model.layers[FIRST_LAYER:])
        return -torch.log((-torch.expm1(missed)).clamp(1e-6, 1)).mean()
