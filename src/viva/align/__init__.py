"""Learning from judged replies, without the loop: rewards, rollouts, advantages, divergence from a reference."""
