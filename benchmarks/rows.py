"""Dialogues put together at random from medical words, Chinese and English: as many as one likes, no two alike."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

REPEATED = 50
"""Every so many rows, one that was there before."""
_SENTENCES = 40_000
_ZH = {
    "sign": "头痛 发热 咳嗽 乏力 胸闷 腹泻 恶心 失眠 皮疹 水肿 心悸 气短 便血 黄疸 抽搐 眩晕 耳鸣 盗汗 口渴 尿频",
    "part": "左上腹 右下肢 颈部 腰骶部 胸骨后 枕部 手指 膝关节 眼睑 咽喉 甲状腺 肩胛 踝部 鼻腔 上腹 足底",
    "drug": "阿莫西林 二甲双胍 氨氯地平 奥美拉唑 布洛芬 头孢克肟 缬沙坦 阿托伐他汀 氯雷他定 蒙脱石散 华法林 泼尼松",
    "illness": "高血压 糖尿病 慢性胃炎 支气管肺炎 缺铁性贫血 甲减 类风湿关节炎 阑尾炎 过敏性鼻炎 房颤 脑梗死 胆结石",
    "test": "血常规 肝功能 胸部CT 心电图 胃镜 尿常规 甲功五项 腹部彩超 头颅核磁 凝血功能 糖化血红蛋白 骨密度",
    "how": "反复发作 逐渐加重 夜间明显 饭后出现 活动后缓解 受凉以后更厉害 时好时坏 一直没有好转 最近少了些 按压时疼",
}
_EN = {
    "sign": (
        "headache,fever,a dry cough,fatigue,chest tightness,"
        "diarrhoea,nausea,a rash,swelling,palpitations,dizziness"
    ),
    "part": (
        "left knee,lower back,right shoulder,upper abdomen,neck,ankle,left ear,throat,wrist,right hip,eyelid"
    ),
    "drug": (
        "amoxicillin,metformin,amlodipine,omeprazole,ibuprofen,"
        "valsartan,atorvastatin,loratadine,warfarin,prednisone"
    ),
    "illness": (
        "hypertension,type 2 diabetes,gastritis,pneumonia,anaemia,"
        "hypothyroidism,arthritis,rhinitis,gallstones"
    ),
    "test": (
        "blood count,liver panel,chest CT,ECG,gastroscopy,urinalysis,"
        "thyroid panel,ultrasound,brain scan,bone density"
    ),
    "how": (
        "comes and goes,is worse at night,starts after meals,"
        "eases when I rest,has not changed,wakes me up,got milder"
    ),
}
_ASKED = (
    "{part}{how}，伴有{sign}和{sign}，大概有{n}天了，需要做{test}吗？",
    "我有{illness}，现在吃{drug}，这两天{sign}，{how}，能不能同时用{drug}？",
    "{test}结果是{n}.{m}，比上次的{m}.{n}高，医生说像{illness}，严重吗？",
    "My {part} {how} and I have {sign} with {sign} for {n} days; do I need a {test}?",
    "I take {drug} for {illness}. Since {n} days {sign} {how}. Is {drug} safe with it?",
)
_ANSWERED = (
    "{part}的{sign}如果{how}，要先排除{illness}，建议完善{test}，结果正常再考虑{illness}。",
    "{drug}每次{n}片，每日{m}次，饭后服用；出现{sign}或{sign}时应停药并复查{test}。",
    "{illness}的患者应避免自行加用{drug}，两药合用会使{sign}的机会增加约{n}%。",
    "从描述看，{sign}{how}更像{illness}引起的，{part}不必过分担心，{n}周后复诊。",
    "With {illness}, {sign} that {how} should be looked at; a {test} within {n} days is enough.",
    "Take {drug} {n} mg once a day with food, and stop if {sign} or {sign} appears; {drug} can be an alternative.",
)
_CASE = (
    "患者王建国，男，{n}岁，{n}月{m}日在仁和县人民医院住院，电话1391234{n}{n}。",
    "Mr. John Carter, {n}, was seen by Dr. Emily Stone on 03/{m}/2021 at St. Mary's Hospital.",
)


def write_rows(path: Path, size: int, *, row_bytes: int) -> int:
    """About ``size`` bytes of rows of about ``row_bytes``, as an array or as JSON Lines by the suffix; how many."""
    array = path.suffix == ".json"
    written = rows = 0
    with path.open("wb", buffering=1 << 20) as file:
        written += file.write(b"[\n" if array else b"")
        for row in _rows(row_bytes):
            if written >= size:
                break
            text = json.dumps({"conversations": row}, ensure_ascii=False)
            written += file.write(
                ((",\n" if array and rows else "") + text + ("" if array else "\n")).encode()
            )
            rows += 1
        file.write(b"\n]\n" if array else b"")
    return rows


def _rows(row_bytes: int) -> Iterator[list[dict[str, str]]]:
    chance = random.Random(6)
    asked, answered = (_sentences(chance, patterns) for patterns in (_ASKED, _ANSWERED))
    cases = _sentences(chance, _CASE, many=400)
    each = sum(len(text.encode()) for text in answered) // len(answered)
    turns = max(1, round(row_bytes / 9 / each))
    before: list[dict[str, str]] = []
    number = 0
    while True:
        row = []
        for _ in range(chance.randint(max(1, turns // 2), turns * 3 // 2)):
            row.append({"from": "human", "value": "".join(chance.choices(asked, k=2))})
            row.append({"from": "gpt", "value": "".join(chance.choices(answered, k=7))})
        if number % 20 == 0:
            row[0]["value"] = chance.choice(cases) + row[0]["value"]
        number += 1
        yield before if before and number % REPEATED == 0 else row
        before = row if number % REPEATED == 1 else before


def _sentences(chance: random.Random, patterns: tuple[str, ...], many: int = _SENTENCES) -> list[str]:
    words = [
        {name: listed.split() for name, listed in _ZH.items()},
        {name: listed.split(",") for name, listed in _EN.items()},
    ]
    made = []
    for _ in range(many):
        pattern = chance.choice(patterns[: -(-len(patterns) // 2)] * 3 + patterns)
        known = words[pattern.isascii()]
        for name, listed in known.items():
            while f"{{{name}}}" in pattern:
                pattern = pattern.replace(f"{{{name}}}", chance.choice(listed), 1)
        for name, most in (("n", 60), ("m", 12)):
            while f"{{{name}}}" in pattern:
                pattern = pattern.replace(f"{{{name}}}", str(chance.randint(1, most)), 1)
        made.append(pattern + (" " if pattern.isascii() else ""))
    return made
