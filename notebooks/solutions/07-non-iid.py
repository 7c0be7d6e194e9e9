"""Solutions of notebook 7."""

import math


def clients_per_round(rho, clients):
    return math.ceil(rho * clients * (1 - 1e-12))


def accuracy_for_client(class_accuracy, label_counts):
    return (class_accuracy * label_counts).sum() / label_counts.sum()


def worst_client(table, round):
    there = table[table["round"] == round]
    return there.loc[there["accuracy"].idxmin(), "client"]
