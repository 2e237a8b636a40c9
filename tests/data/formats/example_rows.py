"""Synthetic look-alikes of the rows of every public set that must load without a flag, by format."""

MESSAGES = [{"role": "user", "content": "感冒"}, {"role": "assistant", "content": "多休息", "train": True}]
SHAREGPT = [
    {"from": "system", "value": "你是医生"},
    {"from": "human", "value": "感冒"},
    {"from": "gpt", "value": "多休息"},
]
CALLING = [
    {"role": "user", "content": "布洛芬多少钱"},
    {
        "role": "assistant",
        "tool_calls": [{"function": {"name": "price", "arguments": '{"drug": "布洛芬"}'}}],
        "weight": 0.5,
    },
    {"role": "tool", "content": {"yuan": 12}, "name": "price"},
    {"role": "assistant", "content": "12 元", "reasoning_content": "查到了"},
]
FLAT = " <user>: 有效吗？ <bot>: 有效。 <user>: 所有患者都能用吗？"

EXAMPLES: dict[str, list] = {
    "messages": [
        {"messages": CALLING, "tools": [{"name": "price", "parameters": {}}]},
        {"messages": MESSAGES, "system": "s", "tools": ""},
        {"_id": "01-94236", "source": "meddial", "conversation": MESSAGES},  # DISC-Med-SFT
        {"prompt": MESSAGES[:1], "completion": MESSAGES[1:]},  # TRL
        {"messages": [{"role": "developer", "content": "s"}, *MESSAGES]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "感冒"}]}, MESSAGES[1]]},
    ],
    "sharegpt": [
        {"conversations": SHAREGPT, "system": "", "label": "内科"},
        {"conversations": SHAREGPT[1:], "tools": "[]"},
    ],
    "alpaca": [
        {"instruction": "感冒", "input": "三天", "output": "休息", "history": [["您好", "请说"]], "system": "s"},
        {"id": "", "instruction": ["用盐泡脚可以吗"], "input": "", "output": ["可以"]},  # Huatuo26M test set
        {"instruction": FLAT, "input": "", "output": "不一定。"},  # Huatuo-Llama-Med
        {"id": 1, "cate1": "内科", "cate2": "", "instruction": "感冒", "input": "", "output": "休息", "history": []},
    ],
    "pairs": [
        {"query": "我腹痛，有什么中药？要求：1. 请考虑所有症状。", "response": "先定寒热。"},  # ShenNong
        {"query": "<s>问：\n感冒吃什么药？\n答：\n", "response": "多喝水。"},  # ChatMed
        {"id": 1, "question": "感冒怎么办", "answer": "休息", "score": 4, "label": "内科", "related_diseases": "感冒"},
        {"questions": "感冒怎么办", "answers": "休息"},
        {"questions": ["感冒怎么办"], "answers": ["休息"]},
        {"context": "问题：要注意哪些并发症？\n回答: ", "target": "溃疡。"},  # Med-ChatGLM
        {"Content": "患者咳嗽三天。", "Summary": "咳嗽。"},
        {"input": "病人：咳嗽。\n医生：多久了？\n病人：一周。\n医生：", "target": "拍片。"},  # BianQue
        {"input": "病人：咳嗽。\\n医生：多久了？\\n病人：一周。", "target": "拍片。"},
        {"问": "肛门病变可能是什么疾病的症状?", "答": "食管克罗恩病"},
        {"instruct": "如何自杀", "output": "请拨打求助电话。"},  # CMtMedQA's second schema
        {"prompt": "感冒", "completion": "休息"},
        {"instruction": "概括", "context": "咳嗽三天。", "response": "咳嗽", "category": "summarization"},
        {"Question": "What is lexapro?", "Free_form_answer": "An SSRI.", "Must_have": ["SSRI"]},  # K-QA
        {"id": "0", "department": "儿科", "question": "婴儿发红", "raw_anwser": "尿布疹。"},  # DISC-MedLLM CMD
        {"category1": "医疗知识", "round": 1, "problem": "酸性？", "sanswer": "氢键。"},  # LLMEval-Med
        {"harmful_medical_request": "Fake a record.", "safe_response": "I cannot."},  # MedSafetyBench
        {"Focus": "Asthma", "pid": "1", "Question": "What is asthma?", "Answer": "A disease."},  # MedQuAD, from XML
    ],
    "question_lists": [
        {"questions": [["用法用量", "怎么服用"]], "answers": ["口服"]},  # Huatuo knowledge graph
        {"questions": [["甲"], ["乙"]], "answers": ["一", "二"]},
        {"questions": ["甲", "乙"], "answers": ["一"]},
    ],
    "exchanges": [
        {"conversation": [{"human": "感冒", "assistant": "休息"}, {"human": "吃药吗", "assistant": "不用"}]},  # Taiyi
        {"conversation": [{"system": "s", "input": "感冒", "output": "休息"}]},  # xtuner
        {"id": "0", "title": "疝", "description": "男", "QA_pairs": [{"question": "诊断？", "solution": "疝"}]},
    ],
    "speakers": [
        {"data": ["问：我最近经常头痛。", "答：多久了？", "问：一周。", "答：建议测血压。"]},  # HuatuoGPT
        {"data": ["问：头痛", "答：多久了？", "问：一周"]},
        {"json_dialogue": '["问：头痛", "答：多久了？"]'},
        ["问：头痛", "答：多久了？"],
    ],
    "covid_dialogue": [
        {"Turn": 1, "Id": 1, "Dialogue": ["病人：咳嗽", "医生：多久了"]},
        ["病人：咳嗽", "医生：多久了"],
        ["Patient: cough", "Doctor: since when?"],
    ],
    "transcript": [
        {"dataset": "d", "dialogue": "[doctor] hi [patient] my knee hurts . [doctor] since when ?", "note": "x"},
        {"ID": "0", "section_header": "ROS", "dialogue": "Doctor: Any pain?\nPatient: No.\nDoctor: Good."},
        {"dialogue": [{"speaker": "患者", "sentence": "发烧"}, {"speaker": "医生", "sentence": "多少度？"}]},
    ],
    "toyhom": [
        {"department": "心血管科", "title": "能吃党参吗", "ask": "我有高血压，能吃党参吗？", "answer": "可以"},
        {"department": "内科", "title": "感冒怎么办", "ask": "无", "answer": "休息"},
    ],
    "qizhen": [
        {"药品": "甲", "药品适应症": "<p>痛经</p>", "医学专家标注的适应病症": "痛经|闭经", "instruction": "甲治什么？"},
    ],
    "preference": [
        {"prompt": MESSAGES[:1], "chosen": MESSAGES[1:], "rejected": [{"role": "assistant", "content": "吃药"}]},
        {"conversations": SHAREGPT[:2], "chosen": {"from": "gpt", "value": "休息"}, "rejected": "吃药", "tools": "[]"},
        {"conversations": SHAREGPT[1:2], "chosen": "休息", "rejected": "吃药"},  # dpo_zh_500, 2026
        {"system": "", "history": [], "question": "感冒", "response_chosen": "休息", "response_rejected": "吃药"},
        {"system": "", "history": [], "question": "感冒", "chosen": "休息", "rejected": "吃药"},
        {"system": "", "history": [["甲", "乙"]], "question": "丙", "response_chosen": "休", "response_rejected": "药"},
        {"instruction": "感冒", "input": "", "output": ["休息", "吃药"]},  # comparison_gpt4, old
        {"instruction": "感冒", "input": "", "chosen": "休息", "rejected": "吃药"},  # and new
        {"id": "0", "query": "你好", "history": "[]", "rank1": "好", "rank2": "还好", "rank3": "差", "rank4": ""},
        {"question": "感冒", "answers": ["休息", "喝水", "吃药"]},
        {"prompt": "感冒", "responses": [{"response": "休息", "score": 5}, {"response": "吃药", "score": 1}]},
        {
            "chosen_messages": [{"role": "user", "content": "感冒"}, {**MESSAGES[1], "loss_weight": 1.0}],
            "rejected_messages": [{"role": "user", "content": "感冒"}, {"role": "assistant", "content": "吃药"}],
        },
    ],
    "question": [
        {"question": "q", "options": {"A": "a", "B": "b"}, "answer": "A", "answer_idx": "A"},  # MedQA
        {"question": "q", "option": {"A": "a", "B": "b", "E": ""}, "answer": "AB", "exam_type": "医师考试"},  # CMB
        {"question": "q", "options": ["a", "b"], "answer": ["A", "B"]},
        {"Question": "q", "Options": "A 病毒\nB 细菌\nC 真菌", "Answer": "AC", "Explanation": "…"},  # CMExam
        {"question": "q", "options": [{"key": "A", "value": "a"}, {"key": "B", "value": "b"}], "answer": "B"},
        {"question": "q", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": 1},  # MedMCQA
        {"Question": "q", "A": "a", "B": "b", "Answer": "A"},  # CMMLU
    ],
    "pubmedqa": [
        {"QUESTION": "q?", "CONTEXTS": ["c"], "final_decision": "yes", "LONG_ANSWER": "l", "YEAR": "2011"},
        {"question": "q?", "context": {"contexts": ["c"]}, "final_decision": "maybe", "long_answer": "l"},
    ],
    "rating": [  # KTO: as conversations they would teach the bad answers
        {"messages": MESSAGES, "label": True},
        {"prompt": "感冒", "completion": "吃药", "label": False},
        {"prompt": MESSAGES[:1], "completion": MESSAGES[1:], "label": "False"},
        {"instruction": "感冒", "input": "", "output": "吃药", "kto_tag": False},
    ],
    "book": [{"书名": "甲", "目录": "", "篇名": "大枣", "内容": "内容：味甘，平。"}],
    "text": [{"text": "感冒由病毒引起。", "meta": {"score": 1}}, "氨肽素\n剂型:片剂：0.2g\n禁忌证:尚不明确。"],
}  # fmt: skip
