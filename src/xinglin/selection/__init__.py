"""Which records of a split are worth training on: scores, steps that drop or take by them, and a floor of safety.

scores/       one number per record, by a model or an answer key; kept, so that choosing anew is free
embeddings/   where records lie, so that what is taken covers all of it
steps/        what drops candidates and what takes them, in the order of the recipe
"""
