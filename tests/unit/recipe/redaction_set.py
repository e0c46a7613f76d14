"""A labelled set for redaction: texts with what is to be found between ⟦ and ⟧, and texts without any.

Made up: numbers carry valid checksums and belong to nobody that is known. Some texts hurt on purpose.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import NamedTuple

_RNG = random.Random(6)
_MARK = re.compile("⟦([^⟧]*)⟧")


class Labelled(NamedTuple):
    """A text and where in it something of a kind stands. `kind` of a negative is the kind that it is hard for."""

    kind: str
    text: str
    spans: tuple[tuple[int, int], ...]


def labelled(kind: str, marked: str) -> Labelled:
    spans, parts, at, length = [], [], 0, 0
    for found in _MARK.finditer(marked):
        parts += [marked[at : found.start()], found[1]]
        length += found.start() - at
        spans.append((length, length + len(found[1])))
        length += len(found[1])
        at = found.end()
    return Labelled(kind, "".join([*parts, marked[at:]]), tuple(spans))


# --- numbers with checksums, made here by rules of their own


def _luhn_digit(digits: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def _number(prefix: str, length: int, *, valid: bool = True) -> str:
    body = prefix + "".join(_RNG.choices("0123456789", k=length - 1 - len(prefix)))
    right = _luhn_digit(body)
    return body + (right if valid else str((int(right) + _RNG.randint(1, 9)) % 10))


def _grouped(number: str, sizes: tuple[int, ...], gap: str) -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(number[at : at + size])
        at += size
    return gap.join(parts)


_BBAN = {
    "DE": "370400440532013000",
    "FR": "20041010050500013M02606",
    "GB": "WEST12345698765432",
    "NL": "ABNA0417164300",
    "ES": "21000418450200051332",
    "IT": "X0542811101000000123456",
    "PL": "109010140000071219812874",
    "CH": "00762011623852957",
    "AT": "1904300234573201",
    "BE": "539007547034",
    "PT": "000201231234567890154",
    "SE": "50000000058398257466",
    "NO": "86011117947",
    "DK": "00400440116243",
    "FI": "12345600000785",
    "IE": "AIBK93115212345678",
    "CZ": "08000000192000145399",
    "HU": "117730161111101800000000",
    "GR": "01101250000000012300695",
    "RO": "AAAA1B31007593840000",
    "TR": "0006100519786457841326",
    "SA": "80000000608010167519",
    "AE": "0331234567890123456",
    "IL": "0108000000099999999",
    "BR": "00360305000010009795493C1",
    "UA": "3223130000026007233566001",
    "LU": "0019400644750000",
    "HR": "10010051863000160",
    "SK": "12000000198742637541",
    "MT": "MALT011000012345MTLCAST001S",
}


def _iban(country: str, *, valid: bool = True) -> str:
    bban = _BBAN[country]
    remainder = int("".join(str(int(sign, 36)) for sign in bban + country + "00")) % 97
    check = 98 - remainder
    return f"{country}{check if valid else (check + 11) % 90 + 2:02d}{bban}"


def _fours(text: str) -> str:
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def _random(signs: str, length: int) -> str:
    return "".join(_RNG.choices(signs, k=length))


_HEX = "0123456789abcdef"
_ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


# --- positives

_EMAILS = """
Write to ⟦alice@example.com⟧ by Friday.
Contact: ⟦j.o.h.n+news@mail.example.co.uk⟧, or call.
<a href="mailto:⟦info@münchen.example⟧">Post</a>
Schreiben Sie an ⟦vorname.nachname@firma-gmbh.de⟧.
Écrivez à ⟦jean-pierre.dupont@exemple.fr⟧ !
Escribe a ⟦maría.lópez@ejemplo.es⟧ o llama.
Пишите на ⟦ivan.petrov@yandex.ru⟧, ответим.
Почта: ⟦иван@пример.рф⟧
请发邮件到⟦zhang.wei@163.com⟧。
お問い合わせは⟦taro.yamada@example.co.jp⟧まで
연락처: ⟦minsu.kim@naver.com⟧
راسلنا على ⟦ahmed@example.com.sa⟧
ईमेल ⟦ravi_kumar99@gmail.com⟧ पर भेजें
Napisz: ⟦zażółć@przykład.pl⟧
"Smith, Bob" <⟦bob.smith@corp.example.org⟧>
user=⟦carol_99@test.io⟧;role=admin
(⟦dave@sub.domain.example.info⟧)
Send it to ⟦o'neil@example.ie⟧ please
{"email":"⟦x@y.dev⟧"}
cc ⟦a@b.co⟧, ⟦c@d.org⟧
SMTP rcpt to:<⟦postmaster@mx1.example.net⟧>
⟦UPPER.CASE@EXAMPLE.COM⟧ wrote:
From ⟦daemon@build-07.ci.example.com⟧ Mon
Reply-To: ⟦no-reply@accounts.example.travel⟧
git log shows Ada <⟦ada@lovelace.name⟧>
eMail:⟦ida@k.museum⟧.
⟦first.last@123-numbers.com⟧ is it
⟦1234567890@qq.com⟧ is a common form
＜⟦fullwidth＠example．com⟧＞
⟦zero\u200bwidth@example.com⟧ hides a space
postgres://app:x@db ; owner ⟦dba@example.se⟧
Mail ⟦kirjaamo@helsinki.example.fi⟧ tai soita
Mejla ⟦åsa.öberg@exempel.se⟧ nu
E-mail: ⟦joao.silva@exemplo.com.br⟧
Adres ⟦mehmet.yilmaz@ornek.com.tr⟧ olarak
Liên hệ ⟦nguyen.van.a@example.vn⟧
ติดต่อ ⟦somchai@example.co.th⟧ ครับ
"⟦very-common_name%tag@example.com⟧"
⟦bounce+17=user.example.net@lists.example.org⟧ came back
⟦"john doe"@example.com⟧ has a blank
root@⟦⟧localhost is left alone but ⟦root@host.example.com⟧ is not
login ⟦svc!ops@example.com⟧ (old form)
⟦me@[192.0.2.7]⟧ is an address literal
attached: ⟦mail-to.bob@example.org⟧.pdf
मेल ⟦राजेश@उदाहरण.भारत⟧ पर लिखें
อีเมล ⟦สมชาย@ตัวอย่าง.ไทย⟧
decomposed: ⟦zoe\u0301@example.org⟧ and ⟦re\u0301my@exe\u0301mple.fr⟧
in Markdown ⟦john\\_doe@example.org⟧
⟦zelda@example。org⟧
写信给⟦li.wei@example.cn⟧。谢谢
alice at example dot com is not caught ⟦alice (at) example.com⟧
⟦bob[at]example[dot]org⟧ neither
"""
_PHONES = """
Call ⟦+1 212-555-0187⟧ now
US: ⟦(415) 555-2671⟧
⟦1-800-555-0199⟧ is free
fax ⟦212.555.0143⟧
UK ⟦+44 20 7946 0958⟧
Ring ⟦020 7946 0321⟧ after six
⟦+44 (0)161 496 0000⟧
Mobile: ⟦07700 900123⟧
DE ⟦+49 30 901820⟧
Tel. ⟦030/901820⟧
Telefon: ⟦089 1234567⟧
Handy ⟦0171 2345678⟧
⟦0049 89 636 48018⟧ aus dem Ausland
⟦(040) 42828-0⟧ Rathaus
FR ⟦+33 1 42 68 53 00⟧
Tél : ⟦01 42 68 53 00⟧
Portable ⟦06.12.34.56.78⟧
ES ⟦+34 912 34 56 78⟧
Teléfono: ⟦612 345 678⟧
IT ⟦+39 06 698 82300⟧
Cell. ⟦347 123 4567⟧
PT ⟦+351 21 123 4567⟧
NL ⟦+31 20 624 1111⟧
bel ⟦020-6241111⟧
BE ⟦+32 2 555 12 12⟧
CH ⟦+41 44 668 18 00⟧
AT ⟦+43 1 58858⟧ und ⟦+43 664 1234567⟧
PL ⟦+48 22 694 24 70⟧
tel. ⟦22 694 24 70⟧
CZ ⟦+420 224 202 111⟧
HU ⟦+36 1 472 8844⟧
SE ⟦+46 8 508 000 00⟧
ring ⟦08-508 000 00⟧
NO ⟦+47 22 00 25 80⟧
tlf ⟦22 00 25 80⟧
DK ⟦+45 33 92 33 92⟧
FI ⟦+358 9 310 1691⟧
RU ⟦+7 (495) 123-45-67⟧
звоните ⟦8 (812) 234-56-78⟧
тел. ⟦8-921-555-12-34⟧
UA ⟦+380 44 255 2100⟧
телефон: ⟦044 255 21 00⟧
GR ⟦+30 21 0338 9000⟧
TR ⟦+90 212 293 09 30⟧
Tel: ⟦0212 293 09 30⟧
IL ⟦+972 3-520-2222⟧
SA ⟦+966 11 401 0000⟧
هاتف ⟦0114010000⟧
هاتف: ⟦٠١١ ٤٠١ ٠٠٠٠⟧
AE ⟦+971 4 606 6666⟧
IN ⟦+91 98765 43210⟧
call ⟦98765 43210⟧
फ़ोन: ⟦९८७६५ ४३२१०⟧
CN ⟦+86 10 6529 8888⟧
手机 ⟦13812345678⟧
手机号：⟦138 1234 5678⟧
JP ⟦+81 3-3580-3311⟧
電話 ⟦03-3580-3311⟧
携帯は⟦090-1234-5678⟧です
KR ⟦+82 2-731-2120⟧
전화 ⟦02-731-2120⟧
TH ⟦+66 2 250 5500⟧
โทร ⟦02 250 5500⟧
VN ⟦+84 24 3825 2916⟧
BR ⟦+55 11 91234-5678⟧
Fone ⟦(11) 91234-5678⟧
MX ⟦+52 55 5093 3600⟧
Celular: ⟦55 5093 3600⟧
AR ⟦+54 11 4309-6600⟧
AU ⟦+61 2 9250 7111⟧
phone ⟦(02) 9250 7111⟧
NZ ⟦+64 9 379 2020⟧
ZA ⟦+27 21 487 6800⟧
NG ⟦+234 803 123 4567⟧
KE ⟦+254 20 2222181⟧
EG ⟦+20 2 2391 3454⟧
{"phone": "⟦5551234567⟧"}
whatsapp ⟦+15551234567⟧
<a href="tel:⟦+4930901820⟧">
call ⟦+1\u200b212\u200b555\u200b0187⟧ hidden
tel ⟦＋４９ ３０ ９０１８２０⟧
Durchwahl: ⟦+49 711 123-4567⟧
ext: ⟦(212) 555-0100 x123⟧
reach me at ⟦555 0123⟧ locally
my number is five five five, ⟦555-0199⟧
⟦+49-30-90-18-20⟧
{"mobilePhone": "⟦5551234567⟧"}
(⟦1-800-555-0199⟧) is free too
Zelda,⟦(415) 555-2671⟧,17
"""
_IPS = """
ping ⟦203.0.113.7⟧
from ⟦198.51.100.23⟧ port 22
Client ⟦10.0.0.12⟧ connected
server=⟦192.168.1.254⟧:8080
http://⟦172.16.254.1⟧/login
⟦8.8.8.8⟧ resolves
host ⟦1.2.3.4⟧ is down
Adresse ⟦185.60.216.35⟧ gesperrt
connexion depuis ⟦92.184.105.3⟧
IP: ⟦5.6.7.8⟧
subnet ⟦10.20.0.0⟧/16
[⟦46.4.12.9⟧] GET /index
⟦100.64.3.200⟧ - - [10/Oct]
(⟦66.249.66.1⟧)
"remote":"⟦77.88.55.60⟧"
ssh root@⟦159.203.10.11⟧
X-Forwarded-For: ⟦203.0.113.195⟧, ⟦70.41.3.18⟧
адрес ⟦95.173.136.70⟧ заблокирован
来自⟦114.114.114.114⟧的请求
接続元 ⟦133.242.0.3⟧
route via ⟦192.0.2.1⟧ dev eth0
⟦１９２．１６８．０．１⟧ full width
⟦2001:db8::1⟧ is documentation
from ⟦2a00:1450:4001:81b::200e⟧
fe80 link ⟦fe80::1ff:fe23:4567:890a%eth0⟧
http://[⟦2001:db8:85a3:8d3:1319:8a2e:370:7348⟧]:443/
⟦2001:0db8:0000:0000:0000:ff00:0042:8329⟧
unique local ⟦fd12:3456:789a:1::1⟧
mapped ⟦::ffff:192.0.2.128⟧
dns ⟦2606:4700:4700::1111⟧
⟦64:ff9b::203.0.113.9⟧ translated
multicast ⟦ff02::2⟧
peer ⟦2001:DB8:0:0:8:800:200C:417A⟧.
address ⟦9.8.7.6⟧
gateway ⟦192.168.0.1⟧, mask 255.255.255.0
nslookup at ⟦1.1.1.1⟧
⟦10.11.12.13⟧->⟦10.11.12.14⟧
login from IP ⟦37.120.133.5⟧ at 10:22
banned ⟦23.129.64.210⟧.
the box 2.4.6.8 without a word is ⟦2.4.6.9⟧ for nobody to tell
in italics _⟦203.0.113.77⟧_
defanged ⟦10[.]9[.]8[.]7⟧
"""


def _positives() -> Iterator[tuple[str, str]]:
    for kind, text in (("email", _EMAILS), ("phone", _PHONES), ("ip", _IPS)):
        for line in text.strip().splitlines():
            yield kind, line.replace("\\u200b", "\u200b").replace("\\u0301", "\u0301").replace("⟦⟧", "")
    yield from (("card", line) for line in _cards())
    yield from (("iban", line) for line in _ibans())
    yield from (("key", line) for line in _keys())


def _cards() -> Iterator[str]:
    around = [
        "Card: ⟦{}⟧",
        "zahlen Sie mit ⟦{}⟧ bis 12/27",
        "carte ⟦{}⟧.",
        "卡号⟦{}⟧，谢谢",
        "номер карты ⟦{}⟧",
        "n={}⟦⟧".replace("{}", "⟦{}⟧", 1),
    ]
    makers = [
        ("4", 16, (4, 4, 4, 4)), ("51", 16, (4, 4, 4, 4)), ("55", 16, (4, 4, 4, 4)), ("2221", 16, (4, 4, 4, 4)),
        ("2720", 16, (4, 4, 4, 4)), ("37", 15, (4, 6, 5)), ("34", 15, (4, 6, 5)), ("6011", 16, (4, 4, 4, 4)),
        ("65", 16, (4, 4, 4, 4)), ("3530", 16, (4, 4, 4, 4)), ("36", 14, (4, 6, 4)), ("62", 19, (4, 4, 4, 4, 3)),
        ("4", 13, (4, 4, 5)), ("2200", 16, (4, 4, 4, 4)), ("6759", 16, (4, 4, 4, 4)),
    ]  # fmt: skip
    for at, (prefix, length, sizes) in enumerate(makers):
        for gap in ("", " ", "-"):
            written = _grouped(_number(prefix, length), sizes, gap)
            yield around[(at + len(gap)) % len(around)].replace("⟦⟧", "").format(written)
    plain = _number("4", 16)
    yield f"pan ⟦{_grouped(plain, (4, 4, 4, 4), '.')}⟧ dotted"
    yield f"pan ⟦{_grouped(plain, (4, 4, 4, 4), chr(0x200B))}⟧ with nothing between"
    yield f"pan ⟦{_grouped(plain, (4, 4, 4, 4), chr(0xA0))}⟧ hard spaces"
    yield f"pan ⟦{_grouped(plain, (4, 4, 4, 4), chr(0x2013))}⟧ en dashes"
    yield f"بطاقة ⟦{plain.translate({48 + digit: 0x660 + digit for digit in range(10)})}⟧"
    yield f"कार्ड ⟦{plain.translate({48 + digit: 0x966 + digit for digit in range(10)})}⟧"
    yield f"全角 ⟦{plain.translate({48 + digit: 0xFF10 + digit for digit in range(10)})}⟧"
    yield f"wrapped ⟦{plain[:8]}\n{plain[8:]}⟧ here"
    yield f"wrapped ⟦{plain[:4]} {plain[4:8]}\r\n{plain[8:12]} {plain[12:]}⟧ as Windows does"
    yield f"17,⟦{plain}⟧,12/27,Zelda"
    yield f"id,card\n1,⟦{plain}⟧\n204,⟦{_grouped(plain, (4, 4, 4, 4), '-')}⟧"
    yield f"17\t⟦{plain}⟧\t12/27"
    yield f"[17,⟦{plain}⟧,0.5]"
    yield f"in italics _⟦{plain}⟧_"
    for hidden in "\0\u180b\u115f\u3164\uffa0\U000e0020\U000e0100":
        yield f"pan ⟦{plain[:4]}{hidden}{plain[4:]}⟧"
    yield f"odd groups ⟦{_grouped(plain, (2, 6, 6, 2), ' ')}⟧"
    yield f"digit by digit ⟦{' '.join(plain)}⟧"


def _ibans() -> Iterator[str]:
    around = ["IBAN ⟦{}⟧", "Konto: ⟦{}⟧, danke", "virement sur ⟦{}⟧.", "счёт ⟦{}⟧", "(⟦{}⟧)", "账户⟦{}⟧"]
    for at, country in enumerate(_BBAN):
        written = _iban(country)
        yield around[at % len(around)].format(_fours(written) if at % 2 else written)
    for country in ("DE", "FR", "NL", "PL", "ES"):
        yield f"iban:⟦{_iban(country).lower()}⟧"
        yield f"zahlbar auf ⟦{_fours(_iban(country)).replace(' ', '-')}⟧ bis morgen"
        yield f"auf\u00a0⟦{_fours(_iban(country)).replace(' ', chr(0xA0))}⟧ überweisen"
    whole = _iban("DE")
    yield f"wrapped ⟦{_fours(whole)[:14]}\n{_fours(whole)[15:]}⟧"
    yield f"wrapped ⟦{_fours(whole)[:14]}\r\n{_fours(whole)[15:]}⟧"
    yield f"17,⟦{whole}⟧,EUR"
    yield f"in italics _⟦{whole}⟧_"
    yield f"two blanks ⟦{_fours(whole).replace(' ', '  ')}⟧"


def _keys() -> Iterator[str]:
    upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    for prefix in ("AKIA", "ASIA"):
        yield f"aws ⟦{prefix}{_random(upper, 16)}⟧ in the log"
    yield f"aws_secret_access_key = ⟦{_random(_ALNUM + '/+', 40)}⟧"
    yield f"AWS_SECRET_ACCESS_KEY=⟦{_random(_ALNUM, 40)}⟧"
    for prefix in ("ghp_", "gho_", "ghs_", "ghu_", "ghr_"):
        yield f"token ⟦{prefix}{_random(_ALNUM, 36)}⟧!"
    yield f"⟦github_pat_{_random(_ALNUM, 22)}_{_random(_ALNUM, 59)}⟧"
    yield f"GITLAB=⟦glpat-{_random(_ALNUM, 20)}⟧"
    for prefix in ("xoxb", "xoxp", "xoxa"):
        yield f"slack ⟦{prefix}-{_random('0123456789', 12)}-{_random('0123456789', 12)}-{_random(_ALNUM, 24)}⟧"
    yield f"https://⟦hooks.slack.com/services/T{_random(upper, 8)}/B{_random(upper, 8)}/{_random(_ALNUM, 24)}⟧"
    yield f"maps ⟦AIza{_random(_ALNUM, 35)}⟧"
    yield f"⟦GOCSPX-{_random(_ALNUM, 28)}⟧ client"
    yield f"⟦ya29.{_random(_ALNUM, 60)}⟧"
    for prefix in ("sk_live_", "sk_test_", "rk_live_"):
        yield f"stripe ⟦{prefix}{_random(_ALNUM, 24)}⟧"
    yield f"⟦whsec_{_random(_ALNUM, 32)}⟧"
    yield f"OPENAI: ⟦sk-{_random(_ALNUM, 48)}⟧"
    yield f"export OPENAI_API_KEY=⟦sk-proj-{_random(_ALNUM, 64)}⟧"
    yield f"claude ⟦sk-ant-api03-{_random(_ALNUM, 80)}⟧"
    yield f"//registry/:_authToken=⟦npm_{_random(_ALNUM, 36)}⟧"
    yield f"⟦hf_{_random(_ALNUM, 34)}⟧"
    yield f"⟦SG.{_random(_ALNUM, 22)}.{_random(_ALNUM, 43)}⟧"
    yield f"⟦pypi-AgEIcHlwaS5vcmc{_random(_ALNUM, 80)}⟧"
    for _ in range(4):
        yield f"Bearer ⟦eyJhbGciOiJIUzI1NiJ9.eyJ{_random(_ALNUM, 40)}.{_random(_ALNUM, 43)}⟧"
    for kind in ("RSA ", "", "EC ", "OPENSSH ", "ENCRYPTED "):
        body = "\n".join(_random(_ALNUM + "+/", 64) for _ in range(4))
        yield f"key:\n⟦-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----⟧\nend"
    yield f"cut ⟦-----BEGIN RSA PRIVATE KEY-----\n{_random(_ALNUM, 64)}\n{_random(_ALNUM, 64)}⟧"
    yield "password: ⟦Tr0ub4dor&3⟧"
    yield 'password = "⟦correct7Horse!battery⟧"'
    yield "db_password=⟦x9!kQ2#v⟧ host=db"
    yield "DB_PASS='⟦s3cr3t-P4ss⟧'"
    yield "Passwort: ⟦Geh3im!2024⟧"
    yield "mot de passe : ⟦Chat0nNoir!9⟧"
    yield "contraseña: ⟦G4toNegro77⟧"
    yield "пароль: ⟦Qwerty!2345z⟧"
    yield "密码：⟦Zx9mm4Kq7⟧"
    yield "パスワード: ⟦Sakura88xQ⟧"
    yield f'{{"api_key": "⟦{_random(_HEX, 32)}⟧"}}'
    yield f"apikey={_HEX[:0]}⟦{_random(_ALNUM, 32)}⟧&q=1"
    yield f"client_secret: ⟦{_random(_ALNUM, 40)}⟧"
    yield f"X-Auth-Token: ⟦{_random(_HEX, 40)}⟧"
    yield f"Authorization: Basic ⟦{_random(_ALNUM, 27)}=⟧"
    yield f"Authorization: Bearer ⟦{_random(_ALNUM, 40)}⟧"
    yield "postgresql://app:⟦Zk8-hunter2x⟧@db.internal:5432/app"
    yield "redis://:⟦p4ssW0rd-r3dis⟧@cache:6379"
    yield "https://user:⟦s3cretPw⟧@example.com/repo.git"
    yield f"AccountKey=⟦{_random(_ALNUM, 86)}==⟧;EndpointSuffix=core"
    yield f"SECRET_KEY = '⟦django-insecure-{_random(_ALNUM, 50)}⟧'"
    yield "the password is ⟦Sunny.Day.42⟧"
    yield "my pwd is ⟦letmein⟧, do not tell"
    yield "password: ⟦hunter2⟧"
    yield "**Password:** ⟦hunter2-x9Q⟧"
    yield "**Password**: ⟦hunter2-x9Q⟧"
    yield "<password>⟦hunter2-x9Q⟧</password>"
    yield "password: ⟦yourmom99X⟧"
    yield f"token ⟦ghp\\_{'a1B2' * 9}⟧ in Markdown"
    yield "| password | ⟦hunter2-x9Q⟧ |"
    yield "password: ⟦84120947⟧"
    yield f"a bare secret ⟦{_random(_ALNUM, 32)}⟧ without a name"
    yield f'token := "⟦{_random(_ALNUM, 24)}⟧"'


# --- negatives

_HARD = """
phone|Order 4471-2231-90 was shipped on 2024-05-17 at 10:32:07
phone|Dates: 01.02.2024, 2024/11/05, 12-31-1999, 3/4/2025
phone|From 2023-11-01 to 2023-11-30, 08:00-17:30
phone|Bestellnummer 0171 2345678 0 ist keine Telefonnummer
phone|part number 555-123-4567 in the catalogue
phone|SKU 800-555-0100-XL
phone|ISBN 978-0-306-40615-7 and ISBN 0-306-40615-2
phone|ISSN 2049-3630, DOI 10.1000/182, arXiv 2103.00020
phone|Population 1 234 567 890 by 2050
phone|1,234,567.89 EUR or 1.234.567,89
phone|Coordinates 52.520008, 13.404954 and -33.868820
phone|pi is 3.14159265358979, e is 2.718281828
phone|chapters 1-2-3-4-5-6-7-8-9
phone|Unix time 1700000000, in ms 1700000000000
phone|RFC 2119, ISO 8601-1:2019, IEC 60950-1
phone|Invoice no. 2024-000123-77
phone|UPC 0 36000 29145 2
phone|EAN 4006381333931
phone|IMEI 49-015420-323751-8
phone|SSN 078-05-1120 is another kind
phone|Tax id 12-3456789
phone|scores 21-19 21-17 15-21
phone|the years 1914 1918 1939 1945
phone|resolution 1920 1080 3840 2160
phone|lottery 04 08 15 16 23 42
phone|bytes 4096 8192 16384
phone|+100000000 in profit
phone|a + 1 2 3 4 5 6 7
phone|3+14159265
phone|growth of +2.5 to +3.75 percent
phone|temperature +15 to +25 degrees in 2024
phone|row 000123456789 in the ledger
phone|0.0712 345 678 is a number
phone|tracking number 1Z999AA10123456784
phone|ticket 2125550143 in the queue
phone|ref: 212-555-0143
phone|version 10.4.2024 build 7710
phone|size 0640 0480 pixels
phone|article 030-1234 of the statute
phone|Artikelnummer 0800 123 456
phone|fax machines sold: 12
phone|call 3 functions 10 times
phone|tel aviv 2024
phone|Phoenix 2012-2015
phone|mobile revenue was 12.5 in 2023
phone|item (555) of 1234
phone|matrix 212 555 by 0143
phone|Fig. 3-14-159
phone|pages 212-219, 555-560
phone|NASA 51-L, Boeing 747-400, Airbus A320-200
phone|train ICE 0724 10:05 12:45
phone|GMT+0100 and UTC+05:30
phone|Postleitzahl 01067 Dresden
phone|zip 90210-1234
phone|case C-131/12 of 13.05.2014
phone|Az. 4 K 1234/20
phone|300-200-3000 is a range of widths
phone|iPhone 5551234567
phone|grant 101 000 2020 1
card|Order {bad4}
card|order number {bad5} is paid
card|Auftrag {bad6} erledigt
card|номер заказа {bad4}
card|订单号 {bad62}
card|{bad37} is no account
card|{bad4g}
card|{bad5g}
card|tracking 9400 1000 0000 0000 0000 00
card|IMEI 490154203237518
card|ICCID 8949017100000000000
card|snowflake 1788888888888888888
card|nanoseconds 1700000000123456789
card|microseconds 1700000000123456
card|0.4111111111111111 of the sum
card|3.4111111111111111
card|card_4111111111111111_old
card|0000 0000 0000 0000
card|1234 5678 9012 3456
card|4444 4444 4444 444
card|years 4512 1999 2000 2001
card|hash 4111111111111111a
card|x4111111111111111
card|4111-1111-1111-1111-1111
card|serial 12-4111-1111-1111-1111
card|ISBN 9783161484100
card|EAN 5901234123457
card|GTIN 00012345600012
card|DUNS 15-048-3782
card|LEI 5493001KJTIIGC8Y1R12
card|isbn13 978 4 111 11111 1
card|VIN 1HGCM82633A004352
card|a table 5100 0000 1200 3400
card|bits 1010101010101010
card|4000 4000 4000
card|phone bill 5555 5555 5555 of 2024
card|node id 3782822463100
card|barcode 4006381333931 on the shelf
card|Luhn-valid by chance: order {good4}
card|serial {good62} of a machine
iban|{badDE}
iban|IBAN {badFR} falsch
iban|{badGB}
iban|{badNLg}
iban|VAT DE123456789
iban|USt-IdNr. DE 811 907 980
iban|NL001234567B01 is a tax number
iban|GB29 is a postcode area? No: W1A 1AA
iban|ES2024 and ES2015 are JavaScript
iban|part AT89C51 of the board
iban|FR4 laminate, PT100 sensor, CR2032 cell
iban|IE11 and DE10 standards
iban|BE2 mark ABCD1234EFGH5678
iban|ISIN DE0005557508
iban|ISIN US0378331005
iban|SWIFT DEUTDEFF500
iban|GB82WEST1234569876543
iban|GB82 WEST 1234 5698 7654 322
iban|XX82 WEST 1234 5698 7654 32
iban|commit de89370400440532013001
iban|CH93 0076 2011 6238 5295 8
iban|AE07 0331 2345 6789 0123 457
iban|MT84 MALT 0110 0001 2345 MTLC AST0 01T
iban|license PL12345678901234567890123456
iban|container MSCU1234567
iban|flight LH12 3456 departs
iban|SE45 5000 0000 0583 9825 7467
iban|model IT60X0542811101000000123457
iban|NO93 8601 1117 948
iban|ticket TR33 0006 1005 1978 6457 8413 27
ip|version 1.2.3.4
ip|v1.2.3.4 and v10.20.30.40
ip|release 2.0.1.1 fixes it
ip|upgrade to 10.2.3.40 of the driver
ip|see section 3.1.2.4
ip|§ 4.3.2.1
ip|OID 1.3.6.1.4.1.343
ip|1.3.6.1.2.1.1.3.0
ip|mask 255.255.255.0
ip|bind 0.0.0.0 and 127.0.0.1
ip|localhost is ::1, any is ::
ip|256.1.1.1 is none
ip|1.2.3 and 1.2.3.4.5
ip|01:23:45:67:89:ab is a MAC
ip|00-1B-44-11-3A-B7
ip|12:34:56 and 23:59:59.999
ip|std::vector<int>::iterator
ip|a[1::2] and b[::3]
ip|dead::beef::cafe
ip|Foo::Bar::BAZ
ip|ratio 1:2:3:4:5:6:7
ip|price 12.345.678,90
ip|chapter 2.4.1.7 of the guide
ip|1.2.3.4 is the outline number of this paragraph
ip|kernel 5.15.0.91 and libfoo-1.2.3.4.tar.gz
ip|Chrome/120.0.6099.109 Safari/537.36
ip|assembly version=4.0.30319.42000
ip|pip install foo==1.22.333.4
ip|FileVersion 10.0.19041.1
ip|date 2024.12.31.1
ip|10.0.0 is a prefix, 192.168 too
ip|score 3.5.2.1 set by set
ip|std::chrono::seconds(10)
ip|key: fe:ed:fa:ce
ip|fingerprint ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89
ip|IPv6 has 2^128 addresses
ip|C::D1::E2 in Rust
ip|time 10:15:30:250
ip|firmware 3.10.14.12 for the router
ip|lib_10.2.3.40_amd64
ip|Office 16.0.17126.20132
email|decorator @app.route and @property
email|npm i lodash@4.17.21 react@18.2.0
email|@angular/core@17.0.1
email|icon@2x.png and logo@3x.jpg
email|git@github.com:org/repo.git
email|ssh://git@gitlab.example.com/group/project
email|a@b
email|root@localhost
email|user@host without a dot
email|C = A @ B.T
email|y = w @ x.mean()
email|@handle on social media
email|5 apples @ 1.20 each
email|meet @ noon. Bring it
email|foo@@bar.com
email|@@IDENTITY in SQL
email|actions/checkout@v4.1.1
email|image@sha256:0123abcd
email|x@.com and @example.com
email|ansible all -m ping -u admin@
email|println@Main.kt:12
email|$user@$host.$domain
email|pkg@1.0.0-beta.2
email|alice@ example.com
email|follow me @alice.bsky.social
email|user@@example
email|@media (min-width: 10px)
email|@param name the name
email|E = mc@2
email|docker pull redis@7.2
email|~@~.~
email|matmul W@h.transpose()
email|{{ user }}@{{ domain }}
email|mail me at example.com
email|price: 3@0.99
email|a@b.c
email|photo@2x.webp
email|types/node@20.10.5
email|SELECT @x.y FROM t
email|jquery@3.min.js and app@2.bundle.css
email|handle @alice@mastodon.social
key|password: required
key|password = None
key|password=${DB_PASSWORD}
key|password: "<your-password>"
key|token = get_token()
key|api_key = os.environ["API_KEY"]
key|secret: changeme
key|The password must be at least 12 characters
key|password is case-sensitive
key|Forgot password? Click here
key|token: string
key|tokens: 1536
key|max_tokens=4096
key|secret_key = settings.SECRET_KEY
key|token_type: bearer
key|keyboard: us-intl
key|primary_key=True
key|foreign key: user_id2
key|passport: C01X00T47
key|compass: N45E12
key|the secret is to begin early
key|password: ********
key|PASSWORD=xxxxxxxx
key|passwordResetUrl: /reset/step2
key|auth: oauth2
key|tokenizer: bert-base-uncased2
key|key: value1
key|sort key: created_at
key|sk-learn-contrib-metric-learn-package
key|sk-SK is a locale, sk-nav-menu-item-primary
key|task-1234567890abcdefghijkl
key|-----BEGIN PUBLIC KEY----- MFkwEw -----END PUBLIC KEY-----
key|-----BEGIN CERTIFICATE-----
key|git sha {sha}
key|commit {sha} Merge branch
key|uuid {uuid}
key|etag "{md5}"
key|sha256:{sha256}
key|integrity sha512-{b64}
key|data:image/png;base64,iVBORw0KGgo{b64}
key|session {uuid} ended
key|request_id={uuid}
key|checksum: {md5}
key|pk_live_{pub}
key|color #a1b2c3, rgb(1,2,3)
key|eyJ is how base64 of JSON begins
key|xoxo, see you
key|AKIAS is a word
key|https://user@example.com/path
key|https://example.com:8080/path
key|https://user:password@example.com
key|token: {sha} (a revision, and called a token)
key|the token is Authorization2 header
key|password policy: min8chars
key|secret santa: Anna2024
key|API key: see the wiki
key|Bearer bonds: 2031
key|credentials: ~/.aws/credentials
key|secretName: my-tls-secret-v2
key|access_key: ACCESS_KEY_ID
key|**Password:** *required*
key|<password>required</password>
key|password: your-password-1
key|apiKey: process.env.API_KEY
"""


def _negatives() -> Iterator[tuple[str, str]]:
    fours = (4, 4, 4, 4)
    for line in _HARD.strip().splitlines():
        kind, _, text = line.partition("|")
        made = {
            "bad4": _number("4", 16, valid=False), "bad5": _number("53", 16, valid=False),
            "bad6": _number("6011", 16, valid=False), "bad62": _number("62", 19, valid=False),
            "bad37": _number("37", 15, valid=False), "bad4g": _grouped(_number("4", 16, valid=False), fours, " "),
            "bad5g": _grouped(_number("52", 16, valid=False), fours, "-"),
            "good4": _number("4", 16), "good62": _number("62", 16),
            "badDE": _iban("DE", valid=False), "badFR": _iban("FR", valid=False), "badGB": _iban("GB", valid=False),
            "badNLg": _fours(_iban("NL", valid=False)),
            "sha": _random(_HEX, 40), "md5": _random(_HEX, 32), "sha256": _random(_HEX, 64), "b64": _random(_ALNUM, 86),
            "pub": _random(_ALNUM, 24),
            "uuid": "-".join(_random(_HEX, size) for size in (8, 4, 4, 4, 12)),
        }  # fmt: skip
        for name, value in made.items():
            text = text.replace(f"{{{name}}}", value)
        yield kind, text
    for _ in range(14):
        yield "card", f"Bestellung {_number('4', 16, valid=False)} / {_number('51', 16, valid=False)}"
        yield (
            "phone",
            f"job {_random(_HEX, 8)}-{_random('0123456789', 3)}-{_random('0123456789', 3)}-{_random('0123456789', 4)}x",
        )
        yield "key", f"blob {_random(_HEX, 64)} {_random(_ALNUM, 44)}="
        yield (
            "ip",
            f"build {_random('123', 1)}.{_random('123456789', 2)}.{_random('1234', 3)}.7 passed",
        )


POSITIVES = [labelled(kind, text) for kind, text in _positives()]
NEGATIVES = [Labelled(kind, text, ()) for kind, text in _negatives()]
