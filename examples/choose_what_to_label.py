"""Choose which 50 of 1,347 digits to label, and see what that is worth against 50 random ones.

Needs: pip install "adacore[sklearn]"
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import adacore
from adacore.labelling import Rounds

# The pool: rows without labels. Yours are embeddings, one row for each text or image; here they are the pixels.
images, digits = load_digits(return_X_y=True)
pool, test, answers, test_digits = train_test_split(images / 16, digits, random_state=0, stratify=digits)


def accuracy(rows, weights=None):
    """Test accuracy of a model that knows the labels of these rows of the pool alone."""
    model = LogisticRegression(max_iter=1000).fit(pool[rows], answers[rows], sample_weight=weights)
    return model.score(test, test_digits)


coreset = adacore.facility_location(pool, budget=50)
print("the first five rows to label:", coreset.indices[:5].tolist())
print("rows that each stands for:   ", coreset.weights[:5].astype(int).tolist())
print(f"certificate: no other 50 rows have less than {coreset.certificate:.0%} of this distance sum")

generator = np.random.default_rng(0)
random = [accuracy(generator.choice(len(pool), 50, replace=False)) for _ in range(20)]
print(f"50 chosen labels: {accuracy(coreset.indices):.1%} of the test digits are right")
print(f"50 random labels: {np.mean(random):.1%} on the mean of 20 draws, from {min(random):.1%} to {max(random):.1%}")

# In two rounds, as one labels in practice: the second round knows what the first has covered.
rounds = Rounds(len(pool))
for _ in range(2):
    for row in rounds.choose(pool, budget=25):
        rounds.label({int(row): int(answers[row])})  # here you would ask a person
weights = rounds.weights(pool)  # how many rows of the pool each labelled row stands for
print(f"two rounds of 25, weighted by what they stand for: {accuracy(rounds.labelled, weights / weights.mean()):.1%}")
