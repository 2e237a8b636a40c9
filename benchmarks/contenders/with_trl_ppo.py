"""TRL's experimental PPO on a prepared job: the last release that has it is 1.12.

    PYTHON_OF_TRL_1.12 benchmarks/contenders/with_trl_ppo.py FOLDER SETTING

As shipped: the policy is LoRA on the language model, reward and value are sequence classifiers of their own. Timed:
``train``, from the first rollout to the last optimizer step. SETTING: rows of a forward and backward pass.
"""

import warnings

from job import Job


def main() -> None:
    warnings.filterwarnings("ignore")
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    torch.set_num_threads(1)
    job = Job()
    tokenizer = AutoTokenizer.from_pretrained(job.model, padding_side="left")
    classifier = AutoModelForSequenceClassification.from_pretrained
    each = int(job.setting)
    trainer = PPOTrainer(
        args=PPOConfig(
            output_dir=str(job.folder / "trl-ppo"),
            use_cpu=True,
            bf16=True,
            gradient_checkpointing=False,
            per_device_train_batch_size=each,
            gradient_accumulation_steps=job.rl["prompts"] // each,
            num_mini_batches=1,
            num_ppo_epochs=job.rl["epochs"],
            total_episodes=len(job.rows()),
            response_length=job.rl["new_tokens"],
            local_rollout_forward_batch_size=job.rl["prompts"],
            num_sample_generations=0,
            temperature=1.0,
            learning_rate=1e-6,
            save_strategy="no",
            report_to="none",
        ),
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(job.model),
        ref_model=None,
        reward_model=classifier(str(job.folder / "reward_merged"), num_labels=1),
        value_model=classifier(str(job.folder / "reward_merged"), num_labels=1),
        train_dataset=Dataset.from_list([{"input_ids": row["prompt_ids"]} for row in job.rows("tokens")]),
        peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    job.spent(trainer.train)()
    job.report()


if __name__ == "__main__":
    main()
