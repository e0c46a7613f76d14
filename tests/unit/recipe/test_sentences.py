"""Where sentences end: a labelled set in many languages, and that no text takes long."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.recipe.sentence_ends import beginnings

#: A bar stands where a new sentence begins.
TEXTS = {
    "English": [
        "Dr. Smith paid $3.50 to Mrs. Jones. |He left at 5 p.m. |Then it rained.",
        "See Fig. 3 and p. 12 for more. |It costs 1.5 million, e.g. in Oslo. |No. 5 lives. |He said no. |Fine!",
        "“Is it?” she asked. |“It is.” |He nodded… |Then he slept. |Wait... what? |Yes!",
        "J. R. R. Tolkien wrote it. |Visit https://example.com/a.b?c=d. |The U.S. Senate met vs. Rome etc. and so on.",
        "Version 2.0 is out. |Call foo.bar() now. |So did I. |Was it (really?) so? |Yes.",
    ],
    "German": [
        "Am 3. Mai kam Hr. Meier, z. B. mit dem Zug. |Das 19. Jahrhundert war lang. |Es kostet 3,50 Euro.",
        "„Gehst du?“, fragte sie. |Er ging bzw. lief ca. 5 km. |Siehe Abb. 2 und Nr. 7. |Usw.",
    ],
    "French": [
        "M. Dupont arrive. |« Où vas-tu ? » demanda-t-il. |Mme Curie a 3,5 kg. |Voir p. 12 et chap. 3.",
        "Il vient… |Elle part ! |Pourquoi ? |On ne sait pas.",
    ],
    "Spanish": ["El Sr. García llegó. |¿Dónde está? |¡Aquí! |Costó 3.500 pesos, núm. 4, pág. 12. |Fin."],
    "Italian": ["Il Dott. Rossi arriva. |Dove sei? |Costa 3,50 euro, pag. 7. |«Vieni!» |Disse no."],
    "Portuguese": ["O Sr. Silva chegou. |Onde está? |São 3,5 kg, pág. 2. |A Sra. Costa saiu."],
    "Dutch": ["Dhr. Jansen komt bijv. morgen. |Hoe laat? |Om 3.30 uur. |Zie blz. 4."],
    "Polish": ["Ul. Długa 5 jest blisko. |Gdzie? |Tzw. rynek, np. tutaj. |Dr. Nowak mieszka tu od 3. maja."],
    "Czech": ["Bydlí v ul. Dlouhé. |Kde? |Např. tady, č. 5. |Narozen 3. května."],
    "Swedish": ["Han kom t.ex. igår. |Varför? |Det kostar 3,50 kr. |Ring tel. 08."],
    "Turkish": ["Dr. Yılmaz geldi. |Nerede? |Prof. Kaya 3.5 km yürüdü. |Bkz. Şekil 2."],
    "Russian": [
        "Он живёт на ул. Ленина. |Где? |И т. д. и т. п. не нужны. |А. С. Пушкин родился в 1799 г. в Москве.",
    ],
    "Ukrainian": ["Проф. Коваль прийшов. |Де він? |Вул. Хрещатик, 5. |Так!"],
    "Greek": ["Πού πας; |Στο σπίτι. |Ο κ. Παπαδόπουλος ήρθε. |Βλ. σελ. 4."],
    "Arabic": ["هل أنت هنا؟ |نعم. |قال د. أحمد إنه 3.5 كم. |انتهى!"],
    "Hebrew": ["מה שלומך? |טוב. |זה עולה 3.5 שקלים. |סוף!"],
    "Urdu": ["وہ گیا۔ |میں آیا۔ |کیوں؟ |پتا نہیں۔"],
    "Hindi": ["वह गया। |डॉ. शर्मा आए। |कीमत 3.5 है। |क्यों? |पता नहीं।"],
    "Chinese": [
        "他走了。|我也走了！|真的？|价格是3.5元。|他说：“走吧。”|然后走了……",
        "「好。」|他笑了。|什么？！|没事。",
    ],
    "Japanese": ["「行こう。」と言った。|はい。|３．５キロです。|本当？|（終わり。）|次へ。"],
    "Korean": ["그는 갔다. |정말? |3.5킬로입니다. |네!"],
    "Thai": ["ฉันกินข้าว |เธอนอนหลับ |ราคา 3.5 บาท"],
    "Amharic": ["እሱ ሄደ። |እኔ መጣሁ። |ለምን?"],
    "Armenian": ["Նա գնաց։ |Ես եկա։"],
    "Burmese": ["သူသွားသည်။ |ကျွန်ုပ်လာသည်။"],
    "Vietnamese": ["GS. TS. Nguyễn Văn A đến. |Ở đâu? |Tại TP. Hồ Chí Minh. |Giá 3.500 đồng."],
    "Indonesian": ["Dr. Budi datang. |Di mana? |Di Jl. Merdeka No. 5. |Harganya Rp 3.500."],
}


def cut(text: str) -> str:
    at, parts = 0, []
    for begin in beginnings(text, 0, len(text)):
        parts.append(text[at:begin])
        at = begin
    return "|".join([*parts, text[at:]])


@pytest.mark.parametrize(("language", "text"), [(name, text) for name, texts in TEXTS.items() for text in texts])
def test_sentences_end_where_people_say_they_do(language: str, text: str) -> None:
    assert cut(text.replace("|", "")) == text


@given(st.text(alphabet="aA. \n。」！?…3I。'\"ฉั۔।;α", max_size=60), st.text(alphabet="aA. 。」", max_size=30))
@settings(max_examples=300, deadline=None)
def test_an_end_is_decided_by_what_is_near(text: str, more: str) -> None:
    far = "x" * 40 + " "
    here = list(beginnings(text + far, 0, len(text)))
    there = list(beginnings(text + far + more, 0, len(text)))
    assert here == there
    assert [at + 41 for at in here if at > 41] == [
        at for at in beginnings(far + text + far, 0, len(far + text)) if at > 82
    ]


def test_no_text_takes_long() -> None:
    program = (
        "from headwater.recipe.sentence_ends import beginnings\n"
        "for part in ('.', '. ', '. A', '.\\n ', '。', '。」', ' ', '1. ', 'a.', '\"', '. \"', 'ก ', '…) ', '?!'):\n"
        "    text = part * (1_000_000 // len(part))\n"
        "    sum(beginnings(text, 0, len(text)))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
