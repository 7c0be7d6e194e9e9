# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4 · Filters from scratch
#
# **Goal.** Send a set of positions in fewer bits than listing them takes, at the price of a few wrong answers. Build a binary fuse filter by
# hand, watch it being peeled, and measure what it gets wrong.
#
# *20 minutes to read, a few seconds to run. [All notebooks](index.ipynb) · before this:
# [3 · What changed?](03-what-changed.ipynb) · [the same in the dashboard](http://localhost:8501/learn)*
#
# [Notebook 3](03-what-changed.ipynb) left us with some 10,000 flips among a million positions. As a list, each costs 20 bits, since
# 2²⁰ is about a million. A **filter** is a smaller thing: it cannot list its members, but it answers for any position "is it in the
# set?". It never denies a member. Of the others it falsely claims a few.
#
# > **Predict first.** Suppose one false claim in 256 is acceptable. How many bits must a filter spend for each member: 20, 10 or 5? And does
# > that number depend on how many positions there are?

# %%
import math

import numpy as np
import pandas as pd

from deltamask import codecs
from deltamask.codecs import CodecContext, bfuse, bfuse_build, bloom, entropy, xor
from deltamask.masking.noise import PublicNoise
from deltamask.teaching import check, figures

figures.use_theme()

# %% [markdown]
# ## Bloom: set a few bits for each member
#
# The oldest filter, and the one that [DeepReduce](https://arxiv.org/abs/2102.03112) sends. Take m bits, all zero. For each member,
# hash its position in k ways to k of the bits and set them. To ask, hash again: if any of the k bits is 0, it was never inserted. If
# all are 1, it probably was; other members may have set them by chance.

# %%
keys = np.array([17_004, 120_586, 333_333, 590_021, 777_216, 901_774])
small = bloom.build(keys, fpr=1 / 16)
bits = np.unpackbits(small.bits, bitorder="little")[: small.m]
print(
    f"{len(keys)} members, {small.m} bits, {small.hashes} hashes each: {bits.sum()} bits are set"
)
print("".join("#" if bit else "·" for bit in bits))

# %% [markdown]
# (The package makes no filter smaller than 128 bits, or the rate would be missed.) At its best a Bloom filter is half full, and
# every bit is shared by several members. The best that can be had for a false-positive rate f is
#
# $$\frac{\log_2 (1/f)}{\ln 2} = 1.44 \, \log_2 (1/f) \quad \text{bits a member,}$$
#
# 11.5 bits for f = 1/256. Theory allows log₂(1/f) = 8. The factor 1.44 is the price of "all of them must be 1".
#
# ## Xor: three slots that add up to a fingerprint
#
# A better idea: a table of **fingerprints**, and a rule in place of a test of bits. Hash a position to three slots, h₀, h₁, h₂, and to a fingerprint of 8
# bits. The position is claimed as a member if
#
# $$F[h_0] \oplus F[h_1] \oplus F[h_2] = \text{fingerprint}.$$
#
# For a position that is no member the left side is as good as random, so it agrees once in 2⁸ = 256. For members the table F must be *filled* so that all
# these equations hold. That is a system of equations, one a member, and it can be solved without algebra, if there
# are a few more slots than members: find a slot that *only one* member asks. That slot can settle this member whatever the others need, so
# put the member aside until the end. Without it, other slots have only one member left. Repeat. This is called **peeling**.
#
# Six members, in the package's own construction of a **binary fuse filter**:

# %%
peeled = bfuse_build.peel(keys)
print(
    f"{len(keys)} members, {peeled.total} slots in segments of {peeled.segment_length}; seed {peeled.seed:#x}"
)
figures.peeling(peeled)

# %% [markdown]
# Read it from the top. Each row is a member with its three slots, one in each of three neighbouring segments (the dotted lines are the segments'
# borders). The orange square is the slot that settles it: *no row further down has a dot in that column*. So when the table is filled from the **bottom** up,
# the orange slot is still free when its row comes, and nothing that is written later disturbs it.
#
# Whether peeling succeeds is a matter of chance; if every remaining slot is asked twice, one takes another seed and starts again. The probability
# depends on how many slots there are to spare:
#
# - **xor filter**: the three slots are anywhere in three thirds of the table. Peeling needs 1.23 slots a member.
# - **binary fuse filter**: the three slots are in *neighbouring* segments of many. At both ends of the table slots are asked by few members, so
#   peeling starts there and goes inwards; 1.13 slots a member are enough for large sets.
#
# So with 8-bit fingerprints a large set takes 11.5 bits a member (Bloom), 9.84 (xor) or 9.0 (fuse), for the same rate. The paper chose the last.
#
# ## Exercise: fill the table
#
# **1.** You get the peeling: `slots` (n, 3), `own` (n,) and the fingerprint that each member wants, in peeling order. Return the table of
# `total` fingerprints. The check builds a filter from it and asks the package's membership kernel about every member.


# %% tags=["exercise"]
def fill_filter(slots, own, wanted, total):
    return ...


check(fill_filter)

# %% [markdown]
# ## Measured: bits and false positives
#
# Ten thousand members of a million positions; every filter is asked about every position.

# %%
d, n = 1_000_000, 10_000
members = np.sort(np.random.default_rng(0).choice(d, n, replace=False))
outside = np.ones(d, bool)
outside[members] = False

rows = []
for name, bits, claims in (
    (
        "Bloom",
        len((f := bloom.build(members, 2**-8)).bits) * 8,
        lambda: bloom.members(f, 0, d),
    ),
    (
        "xor, 8 bits",
        (x := xor.build(members, 8)).fingerprints.nbytes * 8,
        lambda: xor.members(x, 0, d),
    ),
    (
        "fuse, 8 bits",
        (b := bfuse.build(members, 8)).fingerprints.nbytes * 8,
        lambda: bfuse.members(b, 0, d),
    ),
    (
        "fuse, 16 bits",
        (c := bfuse.build(members, 16)).fingerprints.nbytes * 8,
        lambda: bfuse.members(c, 0, d),
    ),
):
    claimed = claims()
    rows.append(
        {
            "filter": name,
            "bits a member": bits / n,
            "members denied": int((~claimed[members]).sum()),
            "false claims": int(claimed[outside].sum()),
            "one in": round((d - n) / max(1, claimed[outside].sum())),
        }
    )
pd.DataFrame(rows).round(2)

# %% [markdown]
# No member is ever denied. For a fuse filter ten thousand members are not yet many: it takes 1.25 slots for each. A quarter of its slots stay empty,
# though, and the picture in which it travels compresses the zeros away again. The false claims are as many as the fingerprints promise: (d − n)/256 ≈ 3,867 for 8 bits.
#
# Note that number. The client sent 10,000 positions; the server reads nearly 14,000. The rate is small, but it applies
# to *all the others*, and these are many. Fingerprints of 16 bits avoid nearly all of them and double the size.
#
# **The answer to the prediction**: about 10 bits, and no, it does not depend on how many positions there are; only the number of false claims does.
#
# ## Compared with not using a filter at all
#
# A filter answers questions in any order, from memory, in constant time. But our server asks about *all* positions, in order, once. It might as well read a list,
# if the list were short enough. Knowing only n and d, no exact code can beat the entropy:

# %%
context = CodecContext(1, 0, np.full(d, 62_000, np.uint16), PublicNoise(0, 1, 0), (0, d))
print(f"entropy, exact: {entropy.entropy_iid(n, d) / n:.2f} bits a flip")
for name in ("bfuse8", "rice"):
    payload = codecs.get(name).encode(members, context)
    print(
        f"{name:8} whole message: {8 * len(payload) / n:.2f} bits a flip, exact: {codecs.get(name).exact}"
    )

# %% [markdown]
# The sorted list, with its gaps in a code from 1971 (`rice`), is smaller than the filter *and* exact. Filters are made for questions in any order; here all positions are asked, in order.
# [Notebook 5](05-a-picture-of-an-update.ipynb) goes further down.
#
# ## Small sets cost more
#
# What if κ leaves only a few flips? Bits a flip, of whole messages, for sets of different sizes:

# %%
counts = [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000]
rng = np.random.default_rng(1)
sets = [np.sort(rng.choice(d, count, replace=False)) for count in counts]
names = ["bloom", "xor8", "bfuse8", "rice"]
curves = {
    name: [8 * len(codecs.get(name).encode(s, context)) / len(s) for s in sets]
    for name in names
}
curves["entropy, exact"] = [entropy.entropy_iid(len(s), d) / len(s) for s in sets]
figures.lines(
    counts, curves, axes=("flips in the message", "bits a flip"), log_x=True, log_y=True
)

# %% [markdown]
# Three things to see:
#
# - At the left every message pays for its header and, the filters, for their picture: some hundred bytes for ten flips.
# - To the right the filters' price is flat, and the exact list gets *cheaper* as sets grow denser. At 10 % density it needs half the filters' bits.
# - Below some three thousand flips the 8-bit filters are smaller than any exact code can be. They can be, because they are not exact: there they make more false claims than they have members.
#
# ## Exercises
#
# **2.** How many false claims does a filter with `bits`-bit fingerprints make among d positions, n of which are members?


# %% tags=["exercise"]
def expected_false(d, n, bits):
    return ...


check(expected_false)

# %% [markdown]
# **3.** How many bits does an ideal Bloom filter take for n members at a false-positive rate f?


# %% tags=["exercise"]
def bloom_bits(n, f):
    return ...


check(bloom_bits)

# %% [markdown]
# ## What would show this to be wrong?
#
# - **One denied member.** "No false negatives" is a law, not a tendency. A thousand random sets:

# %%
denied = 0
for seed in range(1000):
    some = np.sort(np.random.default_rng(seed).choice(5_000, seed % 200 + 1, replace=False))
    denied += int((~bfuse.members(bfuse.build(some, 8), 0, 5_000)[some]).sum())
print(f"members denied: {denied}")

# %% [markdown]
# - **A false-positive rate that depends on the keys.** If flips had a pattern that the hash does not scatter (all even positions, say), the rate would leave 1/256:

# %%
for name, some in (
    ("every 100th", np.arange(0, d, 100)),
    ("one block", np.arange(10_000) + 5_000),
):
    claimed = bfuse.members(bfuse.build(some, 8), 0, d).sum() - len(some)
    expected = (d - len(some)) / 256
    print(
        f"{name:12} {claimed:,} false claims; {expected:,.0f} ± {2 * math.sqrt(expected):.0f} expected"
    )

# %% [markdown]
# - **Slots.** If you doubt 1.13, look at `bfuse_build.sizes(n)` for n = 100 to 10,000,000.
#
# **Next:** [5 · A picture of an update](05-a-picture-of-an-update.ipynb)
