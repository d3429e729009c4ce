import numpy as np
from adacore.facility.compiled import kernel

TIE = 1e-12


@kernel
def distances(rows, j, out):
    n, d = rows.shape
    for i in range(n):
        s = 0.0
        for k in range(d):
            t = rows[i, k] - rows[j, k]
            s += t * t
        out[i] = np.sqrt(s)


@kernel
def sums(rows, masses, first, last, out):
    n, d = rows.shape
    distance = np.empty(n)
    for j in range(first, last):
        distances(rows, j, distance)
        out[j] = np.dot(masses, distance)


@kernel
def gain_of(rows, masses, nearest, j, scratch):
    distances(rows, j, scratch)
    total = 0.0
    for i in range(rows.shape[0]):
        total += masses[i] * max(0.0, nearest[i] - scratch[i])
    return total


@kernel
def greedy(rows, masses, nearest, owner, bounds, picks, gains, count, limit, floor, tolerance, objective):
    n, d = rows.shape
    scratch = np.empty(n)
    fresh = np.zeros(n, np.bool_)
    while count < limit:
        fresh[:] = False
        best = 0.0
        while True:
            j = np.argmax(bounds)
            if bounds[j] <= 0.0 or bounds[j] < best * (1.0 - TIE):
                break
            if fresh[j]:
                j = -1
                for c in range(n):
                    if not fresh[c] and bounds[c] > 0 and bounds[c] >= best * (1.0 - TIE) and (j < 0 or bounds[c] > bounds[j]):
                        j = c
                if j < 0:
                    break
            bounds[j] = gain_of(rows, masses, nearest, j, scratch)
            fresh[j] = True
            best = max(best, bounds[j])
        if best <= floor:
            break
        pick = -1
        for j in range(n):
            if fresh[j] and bounds[j] >= best * (1.0 - TIE):
                pick = j
                break
        picks[count] = pick
        gains[count] = bounds[pick]
        bounds[pick] = 0.0
        distances(rows, pick, scratch)
        objective = 0.0
        for i in range(n):
            if scratch[i] < nearest[i]:
                nearest[i] = scratch[i]
                owner[i] = count
            objective += masses[i] * nearest[i]
        count += 1
        if objective <= tolerance:
            break
    return count
