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
# # DeltaMask, step by step
#
# Ten notebooks lead from "why bits matter" to running, breaking and extending [DeltaMask](https://arxiv.org/abs/2311.17299). You need PyTorch's idea of a weight; federated learning
# is explained on the way. Each has a goal, a question to answer *before* you run it, real data, pictures, exercises that check themselves, and at its end the
# question: what would show this to be wrong?
#
# | | | reading | running |
# |---|---|---|---|
# | [1 · Why bits matter](01-why-bits-matter.ipynb) | what federated averaging sends; the unit, bits per parameter; both directions | 15 min | under a minute |
# | [2 · Masks instead of weights](02-masks-instead-of-weights.ipynb) | scores, coins, straight-through gradients; a mask that beats a linear probe | 15 min | 1 min |
# | [3 · What changed?](03-what-changed.ipynb) | public randomness, flips, κ; why one u for all clients collapses θ | 20 min | ½ min |
# | [4 · Filters from scratch](04-filters-from-scratch.ipynb) | Bloom, xor, binary fuse; a filter peeled by hand; false positives counted | 20 min | seconds |
# | [5 · A picture of an update](05-a-picture-of-an-update.ipynb) | every byte of a message; damage; how small it could be | 20 min | seconds |
# | [6 · The server's view](06-the-servers-view.ipynb) | two estimators and their variance; false flips; priors and absent clients | 20 min | ½ min |
# | [7 · Non-IID](07-non-iid.ipynb) | clients that differ, the worst-off one, a run repeated byte for byte | 15 min | 1 min |
# | [8 · A fair comparison](08-a-fair-comparison.ipynb) | five methods, seeds, intervals; your own codec, dataset, backbone | 20 min | 2 min |
# | [9 · Your own](09-your-own.ipynb) | a method, a partition, a metric, an observer of your own; a run that stays | 15 min | 2 min |
# | [10 · What the messages give away](10-what-the-messages-give-away.ipynb) | a message read by its server; labels guessed; what ε promises, and what not | 15 min | under a minute |
#
# All pictures are saved in the files, so you can read without running. To run: `Run ▸ Run All Cells`. The first run computes image features once (a quarter of a minute) and
# keeps them. Solutions to the exercises are in [solutions](solutions). The same subject with sliders: the [dashboard's Learn page](http://localhost:8501/learn), once `make app` runs.
#
# ## A taste
#
# Below: the accuracy of three recorded runs against everything a client has sent, and one message of one client, as it crossed the wire.

# %%
import io

from PIL import Image

from deltamask import load_run
from deltamask.plots import run_charts
from deltamask.teaching import figures

figures.use_theme()
run_charts.accuracy_curves(
    [load_run(name) for name in ("fashion", "fashion-recipe", "fashion-fedpm")]
)

# %%
run = load_run("fashion")
payload = run.payloads(12)[0]
size = payload.size
print(
    f"{size:,} bytes for {run.task['d']:,} weights: {8 * size / run.task['d']:.2f} bits a weight"
)
picture = Image.open(io.BytesIO(payload.read()))
picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST)

# %% [markdown]
# Federated averaging sends 32 bits for each weight. How can a fraction of one bit be enough? Start with [1 · Why bits matter](01-why-bits-matter.ipynb).
