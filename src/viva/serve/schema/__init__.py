"""What may be asked for and what is answered, as OpenAI's API has it, one file an endpoint; every field is bounded.

A field that is not in a schema is refused by its name. One that OpenAI knows and viva has not may be null (`Absent`),
as clients write what was not set. https://platform.openai.com/docs/api-reference
"""
