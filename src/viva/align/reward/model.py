"""What a reward model says of prompt and reply (Ouyang et al. 2022, https://arxiv.org/abs/2203.02155, section 3.5)."""

import warnings

import torch

from viva.align import vouched
from viva.align.reward import Base, Judge, Setting
from viva.base.errors import Notice, Refusal
from viva.infer.together import read_together, require_fit
from viva.infer.use import require_head
from viva.model import adapter
from viva.model.size import held


class Config(Base):
    """path: the folder, the run or the hub's id of a model with the head `regress`, whose tokenizer must be that of the
    policy: it reads the very ids of prompt and reply and, where the reply ended, what the chat template sets behind. A
    Notice says that it has no report (`viva reward report`), or what the report warns of.
    """

    path: str

    def build(self, setting: Setting) -> Judge:
        where = setting.located(self.path)
        loaded = adapter.whole(where, setting.located, torch.float32)
        if loaded.tokenizer is None:
            must = (
                f"the reward model {where} must have its tokenizer, by which it is told that it reads the policy's ids"
            )
            raise Refusal(must, "none there", "copy the files of the one that it was trained with into the folder")
        loaded.tokenizer.fingerprint.require(setting.tokenizer.fingerprint, f"the reward model {where}")
        model = loaded.model.to(setting.device).eval()
        require_head(model, "regress")
        setting.beside.append(lambda: held(model))
        for remark in vouched.remarks(where):
            warnings.warn(Notice(remark), stacklevel=2)

        def judge(replies):
            texts = [[*reply.prompt.ids, *reply.ids, *(reply.prompt.tail if reply.ended else ())] for reply in replies]
            require_fit(model, "a prompt with its reply", max(map(len, texts)))
            return torch.cat(list(read_together(model, texts))).tolist()

        return judge
