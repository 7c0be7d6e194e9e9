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
# # 5 · A picture of an update
#
# **Goal.** Take apart the very bytes that a client sent: from the picture to the flips and back, with no byte left unexplained. Damage them and see
# who notices. Then ask how small the message could be.
#
# *20 minutes to read, a few seconds to run. [All notebooks](index.ipynb) · before this:
# [4 · Filters from scratch](04-filters-from-scratch.ipynb) · [the same in the dashboard](http://localhost:8501/learn) ·
# [every byte, as a reference](../docs/wire.md)*
#
# > **Predict first.** A client's update travels as a grayscale picture. If you change one pixel, what does the server do: flip one wrong weight, flip thousands, or
# > refuse the message?

# %%
import io
import struct

import numpy as np
import pandas as pd
from PIL import Image

from deltamask import codecs, load_run
from deltamask.codecs import CodecContext, DecodeError, bfuse, entropy, side_information
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import HEADER, HEADER_BYTES
from deltamask.masking import masks
from deltamask.masking.noise import PublicNoise
from deltamask.teaching import check, figures

figures.use_theme()

# %% [markdown]
# ## The picture
#
# What client 0 sent in round 12 of the recorded run `fashion`: a file on disk, as it crossed the wire. Any image viewer opens it.

# %%
run = load_run("fashion")
payload = run.payloads(12)[0]
data = payload.read()
picture = Image.open(io.BytesIO(data))
print(
    f"{len(data):,} bytes, {picture.width} × {picture.height} pixels, mode {picture.mode}"
)
picture.resize((picture.width * 4, picture.height * 4), Image.Resampling.NEAREST)

# %% [markdown]
# It looks like noise, as a message without redundancy does. Only the black pixels are regular. They are empty slots of the filter, and the
# compression inside the PNG format removes most of what they would cost.
#
# ## Every byte
#
# A PNG file is a signature and a row of chunks, each with its length, name and checksum. Ours have three, and nothing else: no
# time stamp, no software name, no room for a side channel.

# %%
rows = [(0, 8, "signature", "the eight bytes that every PNG starts with")]
at = 8
while at < len(data):
    (length,) = struct.unpack_from(">I", data, at)
    kind = data[at + 4 : at + 8].decode()
    meaning = {
        "IHDR": "width, height, 8 bits, gray",
        "IDAT": "the pixels, deflated",
        "IEND": "the end",
    }[kind]
    rows += [(at, 8, f"{kind}: length and name", f"{length:,} bytes follow")]
    rows += [(at + 8, length, f"{kind}: data", meaning)] if length else []
    rows += [(at + 8 + length, 4, f"{kind}: CRC-32", "of name and data")]
    at += 12 + length
table = pd.DataFrame(rows, columns=["offset", "bytes", "what", "meaning"])
assert table["bytes"].sum() == len(data)
table

# %% [markdown]
# Inside IDAT are the pixels, and the pixels *are* the message: 24 bytes of header, 16 bytes that describe the filter, then its fingerprints,
# then zeros up to the end of the last row.

# %%
pixels, (height, width) = png.read(data, max_pixels=1 << 20)
magic, version, kind, round, client, d, crc = HEADER.unpack_from(pixels)
seed, segment_length, segment_count = bfuse.FIELDS.unpack_from(pixels, HEADER_BYTES)
start = HEADER_BYTES + bfuse.FIELDS.size
slots = (segment_count + 2) * segment_length
fingerprints = np.frombuffer(pixels, np.uint8, slots, start)
empty, padding = np.mean(fingerprints == 0), len(pixels) - start - slots

fields = [
    (0, 2, "magic", magic.decode(), "these are our messages"),
    (2, 1, "version", version, "of the wire format"),
    (3, 1, "kind", kind, "8 is bfuse8"),
    (4, 4, "round", round, "a message of another round is refused"),
    (8, 4, "client", client, "and one of another client"),
    (12, 8, "d", f"{d:,}", "maskable weights"),
    (20, 4, "CRC-32", f"{crc:#010x}", "of all other bytes of the message"),
    (24, 8, "seed", f"{seed:#018x}", "the filter's: peeling succeeded with it"),
    (32, 4, "segment length", segment_length, "a power of two"),
    (36, 4, "segment count", segment_count, f"so {slots:,} slots"),
    (
        40,
        slots,
        "fingerprints",
        f"{slots:,} bytes",
        f"{empty:.1%} are 0: mostly empty slots",
    ),
    (40 + slots, padding, "padding", "zeros", "up to the end of the last row"),
]
table = pd.DataFrame(fields, columns=["offset", "bytes", "field", "value", "meaning"])
assert table["bytes"].sum() == width * height
table

# %% [markdown]
# The same picture with its parts in colour; its first rows:

# %%
parts = [
    ("header", 0, HEADER_BYTES),
    ("filter's fields", HEADER_BYTES, start),
    ("fingerprints", start, start + slots),
    ("padding", start + slots, len(pixels)),
]
figures.picture_map(pixels, width, parts, rows=12)

# %% [markdown]
# ## Back to flips
#
# The server needs the payload and what it already knows: d, the round, whom it waits for. It asks the filter about each of the million
# positions.

# %%
noise = PublicNoise(run.config.seed, payload.round, payload.client)
context = CodecContext(payload.round, payload.client, np.zeros(d, np.uint16), noise)
bfuse8 = codecs.get("bfuse8")
decoded = bfuse8.decode(data, context)
recorded = run.records[12]["clients"][0]
print(
    f"{len(decoded):,} positions; the client sent {recorded['kept']:,}, so {recorded['false_flips']:,} are false flips"
)
print("the first ten:", decoded[:10])

# %% [markdown]
# And back again. Only the client knew which of them it had sent, so we encode all that was read:

# %%
again = bfuse8.encode(decoded, context)
assert np.isin(decoded, bfuse8.decode(again, context)).all()
print(f"{len(again):,} bytes for {len(decoded):,} flips")

# %% [markdown]
# ## Damage
#
# Change the message in several ways, as a bad network might, and hand it to the server.


# %%
def receive(what: str, damaged: bytes, of: CodecContext = context) -> None:
    try:
        answer = f"accepted: {len(bfuse8.decode(damaged, of)):,} flips"
    except DecodeError as error:
        answer = f"refused: {error}"
    print(f"{what:36} {answer}")


def changed(data: bytes, at: int, by: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]


receive("as it was sent", data)
receive("one bit of the compressed pixels", changed(data, 5000))
receive("the last 100 bytes missing", data[:-100])
receive("an empty message", b"")
receive("65,536 pixels wider", changed(data, 17))
receive("client 1's picture of that round", run.payloads(12)[1].read())
receive("client 0's picture of round 11", run.payloads(11)[0].read())

# %% [markdown]
# Everything is noticed. But look at *why*: PNG's checksums catch these, because they were not repaired. An attacker will repair
# them. So change one pixel and write a correct picture again:

# %%
pixel = start + 1000
receive("one pixel, picture rewritten", png.write(changed(pixels, pixel)))

# %% [markdown]
# Our own checksum, in the header. It can be repaired as well, of course. A checksum guards against accidents, never against an adversary. What happens then?

# %%
from deltamask.codecs.wire.message import seal

body = pixels[HEADER_BYTES : start + slots]
forged = seal("bfuse8", round, client, d, changed(body, pixel - HEADER_BYTES))
receive("one pixel, all checksums repaired", png.write(forged))
forged_flips = bfuse8.decode(png.write(forged), context)
print(
    f"lost {len(np.setdiff1d(decoded, forged_flips))} flips and gained {len(np.setdiff1d(forged_flips, decoded))}, "
    f"of {len(decoded):,}"
)

# %% [markdown]
# **The answer to the prediction**: refused if it was an accident. If it was forged with care, a handful of weights flip: those whose three slots include the pixel.
# A hostile client can do that anyway, by sending a dishonest update; what it must not be able to do is crash the server or make it
# allocate gigabytes. So each field is checked against d and the message's length *before* anything is allocated:

# %%
big = bfuse.FIELDS.pack(seed, 1 << 18, 1 << 30) + fingerprints.tobytes()
receive("a filter of 2⁴⁸ slots", png.write(seal("bfuse8", round, client, d, big)))
receive(
    "segments of 100 slots",
    png.write(seal("bfuse8", round, client, d, bfuse.FIELDS.pack(seed, 100, 5))),
)

# %% [markdown]
# ## How small could it be?
#
# The server knows n and d, so the i.i.d. **entropy** d·H₂(n/d) bounds every exact code that knows no more. But the server knows more: the client's u, and θ_g. From
# [notebook 3](03-what-changed.ipynb): *a flip happens exactly when u lies between θ_g and θ_k*. An optimiser moves scores only so far. Where u is
# far from θ_g, no flip is possible, and both sides know where that is.
#
# To see it we need a client's true flips, so we play a round.

# %%
from deltamask import RunConfig, simulate, training
from deltamask.simulation.loop import Observer
from deltamask.task.task import load_task


class Server(Observer):
    """Keeps the server's state after each round."""

    def finished(self, record, checkpoint):
        self.state = checkpoint.state


config = RunConfig(train_samples=2000, test_samples=1000, rounds=3, codec="gap")
task = load_task(config)
server = Server()
for record in simulate(config, task=task, observer=server):
    print(f"round {record.round}: {record.bpp_up:.4f} bpp up")

theta_g, head = server.state.theta, server.state.head
theta_k = training.train_scores(task, head, theta_g, config, round=4, client=0).theta
round_4 = CodecContext(4, 0, theta_g, PublicNoise(config.seed, 4, 0), task.tail.offsets)
flips = masks.flips(theta_k, theta_g, round_4.noise.words(0, task.d))
print(f"{len(flips):,} flips of client 0 in round 4, {len(flips) / task.d:.2%} of d")

# %% [markdown]
# Sort all positions by how far u is from θ_g, measured on the score (that is where an optimiser takes its steps), and count flips:

# %%
distance = side_information.distances(round_4, 0, task.d) / side_information.UNIT
edges = np.linspace(0, 2, 41)
total = np.histogram(distance, edges)[0]
flipped = np.histogram(distance[flips], edges)[0]
figures.lines(
    (edges[1:] + edges[:-1]) / 2,
    {
        "given the distance": flipped / np.maximum(total, 1),
        "given only n and d": np.full(40, len(flips) / task.d),
    },
    axes=("distance |logit u − logit θ_g|", "probability of a flip"),
)

# %%
print(
    f"{np.mean(distance > 2):.0%} of all positions are farther than 2, with {np.mean(distance[flips] > 2):.2%} of the flips"
)

# %% [markdown]
# Near zero a flip is almost a coin toss; beyond 1 it hardly ever happens. A code that uses these probabilities, one for each position, spends its bits where
# a flip is uncertain. That is `gap`, the project's own codec: the curve above is its model, and a range coder does the rest.

# %%
names = ["bloom", "bfuse16", "bfuse8", "xor8", "bloom-p0", "rice", "gap"]
sizes = [8 * len(codecs.get(name).encode(flips, round_4)) / len(flips) for name in names]
labels = [f"{name}{'' if codecs.get(name).exact else ' (not exact)'}" for name in names]
bounds = {
    "entropy, knowing n and d": entropy.entropy_iid(len(flips), task.d) / len(flips),
    "entropy, knowing u and θ_g": entropy.entropy_side(flips, round_4) / len(flips),
}
series = {
    "whole message": [*sizes, None, None],
    "entropy": [None] * len(sizes) + list(bounds.values()),
}
figures.bars([*labels, *bounds], series, axis="bits a flip", text=".2f").update_layout(
    barmode="overlay"
)

# %% [markdown]
# An exact message in about a third of the filter's bits, headers and all. The last bar is the entropy over 1,300 buckets of what both sides know (distance, direction, level of
# θ_g), with the best table for these very flips, whose cost is not counted. It is a reference and no strict bound: `gap` reads the distance on a finer scale and
# knows the layer, so it can come out a little to either side. A learnt model with everything we could think of gained another 0.3 %
# ([codecs.md](../docs/codecs.md)); there is little left.
#
# Why then filters at all? They were the paper's choice, they cost nothing to decode, and they need neither u nor θ_g. All of them are here so that you can choose.
#
# ## Exercises
#
# **1.** Which picture holds `count` bytes? Return (height, width): as square as it can be, width first.


# %% tags=["exercise"]
def picture_shape(count):
    return ...


check(picture_shape)

# %% [markdown]
# **2.** Bits that *one* flip costs at the entropy bound for n flips among d positions, knowing nothing else.


# %% tags=["exercise"]
def entropy_per_flip(n, d):
    return ...


check(entropy_per_flip)

# %% [markdown]
# **3.** Read round and client from a message (not a picture: the bytes inside).


# %% tags=["exercise"]
def sender(message):
    return ...


check(sender)

# %% [markdown]
# ## What would show this to be wrong?
#
# - **Bytes unaccounted for.** Two asserts above say that the tables' bytes add up to the file and to the picture.
# - **A decoder that raises something other than `DecodeError`**, or that accepts what no encoder wrote. The tests try all 255 changes of every byte and all truncations of a
#   message of each kind; try your own:

# %%
rng = np.random.default_rng(0)
accepted = 0
for _ in range(300):
    at, by = int(rng.integers(len(data))), int(rng.integers(1, 256))
    try:
        bfuse8.decode(changed(data, at, by), context)
        accepted += 1
    except DecodeError:
        pass
print(f"{accepted} of 300 damaged pictures were accepted")

# %% [markdown]
# - **A code that is too good.** On flips that have nothing to do with u, side information is worthless, and the entropy for n and d is a true bound. If `gap` came out below it there,
#   information would be leaking from somewhere:

# %%
unrelated = np.sort(rng.choice(task.d, len(flips), replace=False))
bits = 8 * len(codecs.get("gap").encode(unrelated, round_4)) / len(flips)
print(
    f"gap on as many random positions: {bits:.2f} bits a flip; entropy {bounds['entropy, knowing n and d']:.2f}"
)

# %% [markdown]
# **Next:** [6 · The server's view](06-the-servers-view.ipynb)
