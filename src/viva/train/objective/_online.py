"""What objectives share by which a policy learns from its own replies."""

from viva.align.reward import Setting
from viva.align.rollout import Rollout
from viva.base.choice import Choice
from viva.base.errors import Refusal
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer
from viva.train import checkpoint
from viva.train.data import Data
from viva.train.experience import Experience, Lessons, Policy
from viva.train.objective import Base, Ground, padding, require_end
from viva.train.precision import Precision
from viva.train.prompts import Prompts


class Online(Base):
    """`reward`: what a reply is worth; `rollout`: how replies are drawn.

    A document is asked up to the last stretch of it that would be learned; that stretch is the answer that a reward may
    compare with. A step is a round: `train.batch` times `train.accumulate` prompts, and the updates made of their
    replies.
    """

    reward: Choice("viva.align.reward")
    rollout: Rollout = Rollout()

    def reading(self, tokenizer: Tokenizer) -> Prompts:
        require_end(tokenizer)
        return Prompts(padding(tokenizer), self.rollout.max_new_tokens)

    def require(self, model: Transformer) -> None:
        super().require(model)
        if model.recalls:
            found, fix = "one that recalls segments", "use a model whose context holds prompt and reply"
            raise Refusal("a policy must read prompt and reply at once", found, fix)

    def experience(self, data: Data, ground: Ground, precision: Precision) -> Experience:
        size = data.batching.batch * self.rollout.replies
        policy = Policy(ground.model, ground.tokenizer, precision, self.rollout, size)
        judge = self.reward.build(Setting(ground.tokenizer, precision.device, checkpoint.located))
        return Experience(data, policy, judge, self.lessons(policy, ground))

    def lessons(self, policy: Policy, ground: Ground) -> Lessons:
        """The function that makes of a round the micro-batches of its updates."""
        raise NotImplementedError
