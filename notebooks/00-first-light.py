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
# # First light: read a run, open a payload, play two rounds
#
# **Goal.** See with your own eyes that a figure in the dashboard is a count of bytes, and that those bytes are a picture you can
# decode. Ten minutes to read, under a minute to run.
#
# **Predict first.** The tail of the network has about a million maskable weights. A client that trained for one epoch sends
# its update as a picture. How many bytes: a million, a hundred thousand, or ten thousand?

# %%
from deltamask import RunConfig, charts, list_runs, load_run, simulate

for run in list_runs():
    print(f"{run.id:20} {run.state:10}", run.summary())

# %% [markdown]
# ## The curves
#
# Each run trained the same network on the same split with the same seed; only what is sent differs. The axis is logarithmic:
# everything a client has sent so far, in bits per parameter.

# %%
names = ["fashion-paper", "fashion", "fashion-gap", "fashion-unbiased", "fashion-fedpm", "fashion-probe"]
charts.accuracy_curves([load_run(name) for name in names], against="bits")

# %% [markdown]
# ## One payload
#
# What client 0 sent in round 12, byte for byte: an 8-bit grayscale PNG whose pixels are a message header and the
# fingerprints of a binary fuse filter.

# %%
from PIL import Image

run = load_run("fashion")
payload = run.payloads(12)[0]
data = payload.path.read_bytes()
picture = Image.open(payload.path)
print(f"{len(data):,} bytes, {picture.width} × {picture.height}, mode {picture.mode}")
picture.resize((picture.width * 3, picture.height * 3), Image.Resampling.NEAREST)

# %% [markdown]
# Now decode it as the server did: ask the filter about every one of the d positions. The server needs nothing but what both
# sides know; for this codec that is d alone.

# %%
import numpy as np

from deltamask import codecs
from deltamask.codecs import CodecContext
from deltamask.noise import PublicNoise

d = run.task["d"]
noise = PublicNoise(run.config.seed, payload.round, payload.client)
context = CodecContext(payload.round, payload.client, theta=np.zeros(d, np.uint16), noise=noise)
flips = codecs.get(run.config.codec).decode(data, context)

client = run.records[payload.round]["clients"][payload.client]
print(
    f"decoded {len(flips):,} flips = {client['kept']:,} sent + {client['false_flips']:,} false; {8 * len(data) / d:.4f} bpp"
)
assert len(flips) == client["kept"] + client["false_flips"]

# %% [markdown]
# The answer to the prediction: about ten thousand bytes. And a filter with 8-bit fingerprints answers "yes" by mistake for one
# position in 256, so a third of the flips that the server applies were never made by the client.
#
# ## Two rounds of your own
#
# `simulate` is a generator: one record a round. Scikit-learn's digits are the smallest real data there is.

# %%
config = RunConfig(dataset="digits", train_samples=500, test_samples=200, clients=3, rounds=2, probe_epochs=20)
for record in simulate(config):
    print(
        f"round {record.round}: accuracy {record.accuracy:.3f}, {record.uplink_bytes:,} bytes, {record.bpp_up:.4f} bpp"
    )

# %% [markdown]
# **What would show this to be wrong?** If the sizes of the files in a run's `payloads/` folder did not add up to the
# `uplink_bytes` of its records (with `keep_payloads="all"`), or if a payload did not decode to the flips that the record
# counts. Try it: `deltamask run --preset quick` keeps every payload.
#
# **Exercise.** Run the cell above with `noise="shared"` and look at `record.theta_histogram`. Where did the probabilities go?
