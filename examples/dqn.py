"""Reinforcement learning: a network that balances a pole, learned by trying (double DQN).

    pip install gymnasium
    python examples/dqn.py --seed 0

CartPole-v1 gives a point for each step that the pole stands, 500 at most. The network says what
either push will bring in; it learns from what happened (Mnih et al., 2015; van Hasselt et al.,
2016). Choosing is one run of a graph, and so is learning. The goal is the usual one: 475 points,
the mean of 100 new episodes.
"""

import argparse

import gymnasium
import numpy as np

import edgeml
from edgeml import layers, losses, ops, optimizers
from edgeml.training import minimize

DISCOUNT, BATCH = 0.99, 64


def build():
    return edgeml.Sequential([
        edgeml.Input((4,)), layers.Dense(128, activation="relu"),
        layers.Dense(128, activation="relu"), layers.Dense(2),
    ])  # fmt: skip


class Replay:
    """What happened lately, to learn from in any order."""

    def __init__(self, size, rng):
        self.size, self.rng, self.count = size, rng, 0
        self.state, self.then = np.zeros((2, size, 4), np.float32)
        self.action = np.zeros(size, np.int64)
        self.reward, self.fell = np.zeros((2, size), np.float32)

    def add(self, *moment):
        fields = self.state, self.action, self.reward, self.then, self.fell
        for field, value in zip(fields, moment, strict=True):
            field[self.count % self.size] = value
        self.count += 1

    def sample(self, n):
        i = self.rng.integers(0, min(self.count, self.size), n)
        return self.state[i], self.action[i], self.reward[i], self.then[i], self.fell[i]


def play(env, act, episodes, seed):
    """Return the mean number of points of whole episodes."""
    total = 0.0
    for episode in range(episodes):
        state, _ = env.reset(seed=seed + episode)
        over = False
        while not over:
            state, reward, fell, late, _ = env.step(act(state))
            total += reward
            over = fell or late
    return total / episodes


def learn(seed, steps, verbose=True):
    """Return the best network of one training, and how it chooses."""
    layers.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    env, exam = gymnasium.make("CartPole-v1"), gymnasium.make("CartPole-v1")
    online, target = build(), build()
    target.set_weights(online.get_weights())
    best = edgeml.function(lambda state: ops.argmax(online(state), axis=-1), threads=1)
    huber = losses.Huber()

    def error(state, action, reward, then, fell):
        # The online network chooses, the target network says what the choice is worth.
        choice = ops.one_hot(ops.argmax(online(then), axis=-1), 2)
        future = ops.sum(target(then) * choice, axis=-1)
        wanted = ops.stop_gradient(reward + DISCOUNT * (1.0 - fell) * future)
        return huber(wanted, ops.sum(online(state) * ops.one_hot(action, 2), axis=-1))

    step = minimize(error, online, optimizers.Adam(5e-4, global_clipnorm=10.0))
    memory = Replay(50_000, rng)

    def act(state):
        return int(best(state[None])[0])

    state, _ = env.reset(seed=seed)
    top, weights = 0.0, online.get_weights()
    for i in range(steps):
        curious = max(0.05, 1.0 - i / 5_000)
        action = int(rng.integers(2)) if rng.random() < curious else act(state)
        then, reward, fell, late, _ = env.step(action)
        memory.add(state, action, reward, then, fell)
        state = env.reset()[0] if fell or late else then
        if i >= 1_000:
            step(*memory.sample(BATCH))
        if i % 200 == 0:
            target.set_weights(online.get_weights())
        if i % 1_000 == 999 and i >= 4_999:
            points = play(exam, act, 20, seed=10_000)
            if points > top:
                top, weights = points, online.get_weights()
            if verbose:
                print(f"step {i + 1}: {points:.0f} points")
            if top == 500:
                break
    online.set_weights(weights)
    return online, act


def main(seed=0, steps=60_000):
    _, act = learn(seed, steps)
    rng = np.random.default_rng(seed)
    env = gymnasium.make("CartPole-v1")
    points = play(env, act, 100, seed=20_000)
    chance = play(env, lambda state: int(rng.integers(2)), 100, seed=20_000)
    print(f"{points:.1f} points, mean of 100 new episodes; pushing by chance: {chance:.1f}")
    return points, chance


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=60_000, help="in the world, at most")
    main(**vars(parser.parse_args()))
