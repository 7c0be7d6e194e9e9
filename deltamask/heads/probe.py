"""`probe`: linear probing. The clients sampled in round 0 train the head, and the server averages (`methods/`)."""

from deltamask.heads.base import HeadKind, heads

heads.register("probe")(
    HeadKind("Linear probing", "One round of training the head on the frozen network, averaged.", private=("samples",))
)
