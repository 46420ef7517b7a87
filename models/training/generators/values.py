"""Values of personal data: names and addresses of many countries, numbers, secrets, identifiers."""

from __future__ import annotations

import functools
import random
import string

from faker import Faker

LOCALES = ["en_US", "en_GB", "en_AU", "en_IN", "de_DE", "fr_FR", "es_ES", "es_MX", "it_IT", "pt_BR", "nl_NL", "pl_PL",
           "sv_SE", "tr_TR", "cs_CZ", "ro_RO", "fi_FI", "da_DK", "en_US", "en_US", "ru_RU", "ja_JP", "zh_CN"]
CITIES = ["London", "New York", "Paris", "Berlin", "Tokyo", "Mumbai", "Lagos", "Chicago", "Sydney", "Toronto", "Madrid",
          "Rome", "Dublin", "Boston", "Texas", "California", "Ohio", "Bavaria", "Glasgow", "Nairobi", "Seoul", "Beijing",
          "São Paulo", "Mexico City", "Cairo", "Istanbul", "Moscow", "Vienna", "Zurich", "Lisbon", "Los Angeles",
          "San Francisco", "Houston", "Miami", "Brooklyn", "Manchester", "Liverpool", "Leeds", "Kyoto", "Delhi",
          "Yorkshire", "Scotland", "Kent", "Queensland", "Ontario", "Lake Geneva", "Hyde Park", "Heathrow", "Gaza",
          "Times Square", "the Bronx", "Kabul", "Aleppo", "Wales", "Cornwall", "France", "Germany", "Japan", "India", "China", "Brazil", "Canada", "Australia", "Italy", "Spain",
          "Russia", "Ukraine", "Poland", "Greece", "Egypt", "Kenya", "Nigeria", "Syria", "Iraq", "Iran", "Israel", "Pakistan",
          "Indonesia", "Thailand", "Vietnam", "Cuba", "Chile", "Peru", "Norway", "Sweden", "Finland", "Denmark", "Ireland", "England",
          "USA", "UK", "US", "United States", "United Kingdom", "South Africa", "New Zealand", "North Korea", "Hong Kong", "Singapore",
          "Florida", "Georgia", "Michigan", "Virginia", "Oregon", "Alaska", "Hawaii", "Tasmania", "Bali", "Bangkok", "Jakarta", "Manila",
          "Karachi", "Tehran", "Baghdad", "Athens", "Prague", "Budapest", "Warsaw", "Oslo", "Stockholm", "Copenhagen", "Hamburg", "Munich",
          "Milan", "Naples", "Barcelona", "Seville", "Porto", "Lyon", "Marseille", "Geneva", "Brussels", "Amsterdam", "Rotterdam",
          "Portsmouth", "Bristol", "Oxford", "Cambridge", "Edinburgh", "Belfast", "Cardiff", "Detroit", "Denver", "Seattle", "Atlanta",
          "Dallas", "Orlando", "Tampa", "Phoenix", "Las Vegas", "Philadelphia", "Washington", "Baltimore", "Cleveland", "Montreal",
          "Vancouver", "Ottawa", "Melbourne", "Brisbane", "Perth", "Auckland", "Cape Town", "Johannesburg", "the Danube", "the Thames",
          "the Alps", "Mount Everest", "Lake Victoria", "the Mississippi", "Central Park", "Wall Street", "Piccadilly", "Trafalgar Square", "Europe", "Africa", "Silicon Valley"]
COMPANIES = ["Google", "Microsoft", "Apple", "Amazon", "Toyota", "Siemens", "BBC", "NHS", "FBI", "United Nations", "NATO",
             "Manchester United", "Chelsea", "Red Cross", "Harvard University", "Netflix", "Tesla", "IBM", "Samsung",
             "Barclays", "Walmart", "Starbucks", "CNN", "The Guardian", "European Commission", "Labour Party", "Nike",
             "Facebook", "Twitter", "Sony", "Arsenal", "Real Madrid", "Lakers", "World Bank", "Unicef", "Reuters",
             "Oxford University", "Home Office", "Supreme Court", "Greenpeace", "Deutsche Bank", "Air France", "ESPN",
             "University of Michigan", "New York Times", "MTV", "NBC", "Fox News", "HBO", "NASA", "CIA", "UEFA", "FIFA", "NBA", "NFL", "WHO", "EU",
             "Liverpool FC", "Bayern Munich", "Barcelona", "New York Yankees", "Red Sox", "Dallas Cowboys", "Boston Celtics", "Yale",
             "Stanford University", "MIT", "Cambridge University", "British Army", "US Navy", "Royal Air Force", "Congress", "Senate",
             "Parliament", "Democratic Party", "Republican Party", "Conservative Party", "Islamic State", "Taliban", "Amnesty International",
             "Oxfam", "Ford", "General Motors", "BMW", "Volkswagen", "Boeing", "Airbus", "Intel", "Nvidia", "Oracle", "SAP", "Nokia",
             "Vodafone", "AT&T", "Verizon", "Pfizer", "Shell", "BP", "Exxon", "Goldman Sachs", "JPMorgan", "HSBC", "Lloyds", "Citibank",
             "Visa", "McDonald's", "Burger King", "KFC", "Pepsi", "Coca-Cola", "IKEA", "Zara", "Tesco", "Sainsbury's", "Aldi", "Lidl",
             "Uber", "Airbnb", "Spotify", "YouTube", "Instagram", "Reddit", "Associated Press", "The Times", "Washington Post",
             "Columbia Records", "Warner Bros", "Disney", "Pixar", "Marvel", "Nintendo", "Sega", "Metropolitan Police", "Scotland Yard", "Ministry of Defence", "St. Mary's Hospital", "Lincoln High School",
             "The Weather Channel", "BBC News", "Sky Sports", "Al Jazeera", "NPR", "PBS", "Bloomberg", "Financial Times", "Wall Street Journal", "Daily Mail", "The Sun", "Der Spiegel", "Le Monde", "El País", "TechCrunch",
             "Wired", "Vogue", "Rolling Stone", "Time", "Forbes", "Huffington Post", "BuzzFeed", "ITV", "Channel 4", "TMZ", "Ajax", "Celtic", "Rangers", "Everton", "Spurs", "Man City", "Man Utd", "West Ham", "Aston Villa", "Juventus",
             "AC Milan", "Inter", "PSG", "Benfica", "Bulls", "Knicks", "Warriors", "Heat", "Cubs", "Mets", "Dodgers", "Packers", "Patriots", "Steelers", "Giants", "Eagles", "Broncos", "Bruins", "Maple Leafs", "Wallabies",
             "All Blacks", "Team GB", "Ferrari", "Red Bull Racing", "Mercedes", "Delta", "United Airlines", "Ryanair", "Lufthansa", "easyJet", "Emirates", "Qantas", "FedEx", "UPS", "DHL", "Royal Mail", "USPS", "Target", "Costco", "Best Buy",
             "Primark", "H&M", "Marks & Spencer", "Waitrose", "Subway", "Domino's", "Pizza Hut", "Greggs", "Dunkin' Donuts", "Taco Bell", "Wendy's", "Heineken", "Nestle", "Unilever", "Bayer", "AstraZeneca", "Moderna", "Novartis", "Roche",
             "Bosch", "Philips", "LG", "Huawei", "Xiaomi", "Lenovo", "Dell", "HP", "Cisco", "Adobe", "Salesforce", "Snapchat", "TikTok", "WhatsApp", "LinkedIn", "Pinterest", "PayPal", "eBay", "Etsy", "Alibaba", "SpaceX", "Lyft",
             "NSA", "DEA", "EPA", "FDA", "CDC", "IRS", "MI5", "MI6", "KGB", "Interpol", "Europol", "IMF", "OPEC", "UNESCO", "ASEAN", "African Union", "Vatican", "Pentagon", "White House", "State Department", "Treasury", "Fed", "Bundestag",
             "Hamas", "Hezbollah", "Al Qaeda", "IRA", "ANC", "GOP", "UKIP", "SNP", "Green Party", "Lib Dems", "Tories", "PETA", "WWF", "NRA", "ACLU", "Salvation Army", "Rotary Club", "Boy Scouts", "Princeton", "UCLA", "LSE", "Duke", "Notre Dame",
             "Penn State", "King's College", "Ohio State", "University of Leeds", "Berklee", "Sotheby's", "Metropolitan Museum", "Royal Opera House", "New York Philharmonic", "Abbey Road Studios", "Def Jam", "Universal Music", "Paramount", "Lucasfilm",
             "DreamWorks", "Electronic Arts", "Ubisoft", "Blizzard", "Valve", "Berkshire Hathaway", "Morgan Stanley", "Lehman Brothers", "Credit Suisse", "UBS", "Santander", "ING", "Allianz", "AXA", "Deloitte", "KPMG", "McKinsey", "Enron",
             "Halliburton", "Lockheed Martin", "Rolls-Royce", "Caterpillar", "General Electric", "Comerica Bank", "Wells Fargo", "Bank of America", "First National Bank", "Hughes Aircraft", "Union Pacific", "British Rail", "Deutsche Bahn", "Amtrak"]
NICKS = ["shadow", "pixel", "nova", "cool", "dark", "sunny", "mr", "xx", "real", "gamer", "blue", "tiger", "ninja", "the",
         "iam", "luna", "moto", "green", "crypto", "coffee", "lazy", "night", "super", "mad", "tech", "panda"]
HOSTS = ["gmail.com", "yahoo.com", "outlook.com", "hotmail.com", "proton.me", "gmx.de", "icloud.com", "web.de", "example.com",
         "company.com", "mail.ru", "uni-bonn.de", "acme.io", "orange.fr", "libero.it", "aol.com", "corp.example.org"]
WORDS = ["dragon", "summer", "monkey", "letmein", "winter", "football", "qwerty", "secret", "hello", "sunshine", "Passw0rd",
         "trustno", "flower", "Berlin", "maria", "batman", "purple", "coffee", "hunter", "welcome", "Liverpool", "correct",
         "horse", "battery", "staple", "changeme", "admin"]


@functools.cache
def _faker(locale: str) -> Faker:
    return Faker(locale)


@functools.cache
def pool(kind: str, locale: str) -> tuple[str, ...]:
    """A fixed list of made-up values of one kind."""
    fake = _faker(locale)
    fake.seed_instance(f"{kind}:{locale}")
    make = {
        "first": fake.first_name, "last": fake.last_name, "address": lambda: fake.address().replace("\n", ", "),
        "street": fake.street_address, "city": fake.city, "company": fake.company, "phone": fake.phone_number,
        "zip": fake.postcode, "country": fake.country,
    }[kind]
    return tuple(dict.fromkeys(str(make()) for _ in range(250)))


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(string.digits) for _ in range(count))


def _mixed(rng: random.Random, count: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(rng.choice(letters) for _ in range(count))


def _shape(rng: random.Random, shape: str) -> str:
    """`#` becomes a digit, `?` a capital letter, `*` either."""
    table = {"#": string.digits, "?": string.ascii_uppercase, "*": string.ascii_uppercase + string.digits}
    return "".join(rng.choice(table[c]) if c in table else c for c in shape)


def _ascii(name: str) -> str:
    return "".join(c for c in name.lower() if c.isascii() and c.isalnum()) or "user"


def person(rng: random.Random, locale: str) -> str:
    first, last = rng.choice(pool("first", locale)), rng.choice(pool("last", locale))
    if locale in ("ja_JP", "zh_CN"):
        return last + rng.choice(["", "", " "]) + first
    return rng.choices(
        [f"{first} {last}", first, last, f"{first[0]}. {last}", f"{first} {rng.choice(string.ascii_uppercase)}. {last}",
         f"{first} {rng.choice(pool('first', locale))} {last}",
         f"{first} {last}-{rng.choice(pool('last', locale))}", f"{first} {last}".lower()],
        [48, 23, 6, 5, 4, 5, 3, 6])[0]


def username(rng: random.Random, locale: str) -> str:
    first, last = _ascii(rng.choice(pool("first", locale))), _ascii(rng.choice(pool("last", locale)))
    glue = rng.choice(["", "_", ".", "-"])
    return rng.choice([
        f"{first}{glue}{last}", f"{first[0]}{last}", f"{first}{_digits(rng, rng.randint(1, 4))}", f"{last}{glue}{first}",
        f"{rng.choice(NICKS)}{glue}{first}", f"{rng.choice(NICKS)}{rng.choice(NICKS)}{_digits(rng, 2)}",
        f"{rng.choice(NICKS)}_{rng.choice(WORDS).lower()}", f"{first}{last[:1]}{_digits(rng, 2)}", f"{first[:2]}{last[:4]}",
        f"x{first}x", f"{rng.choice(NICKS)}{last.capitalize()}", f"{first}.{last}", f"{first}_{last}", first, f"{first.capitalize()}{last.capitalize()}", f"{last}{_digits(rng, 2)}",
    ])


def email(rng: random.Random, locale: str) -> str:
    host = rng.choice(HOSTS) if rng.random() < 0.8 else f"{_ascii(rng.choice(pool('last', locale)))}.{rng.choice(['com', 'org', 'de', 'fr', 'io', 'co.uk'])}"
    name = username(rng, locale).strip("-._")
    return name + rng.choice(["", "", "", "+news", "+work"]) + "@" + host


def password(rng: random.Random) -> str:
    word = rng.choice(WORDS)
    return rng.choice([
        f"{word}{_digits(rng, rng.randint(1, 4))}", f"{word.capitalize()}{rng.choice('!@#$%&*')}{_digits(rng, 2)}",
        _mixed(rng, rng.randint(8, 14), string.ascii_letters + string.digits + "!@#$%^&*_-"), f"{word}{rng.choice(WORDS)}",
        f"{word.capitalize()}{_digits(rng, 4)}{rng.choice('!?#')}", f"{word}-{rng.choice(WORDS)}-{_digits(rng, 2)}",
        _mixed(rng, rng.randint(7, 10)), f"{word.upper()}_{_digits(rng, 3)}", word, f"P@ss{_digits(rng, 3)}",
    ])


def date(rng: random.Random) -> str:
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1935, 2026)
    names = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
             "November", "December"]
    name = names[month - 1]
    return rng.choice([
        f"{day:02}/{month:02}/{year}", f"{month:02}/{day:02}/{year}", f"{year}-{month:02}-{day:02}", f"{day}.{month}.{year}",
        f"{day} {name} {year}", f"{name} {day}, {year}", f"{name[:3]} {day} {year}", f"{day}-{name[:3]}-{year}",
        f"{day:02}.{month:02}.{year}", f"{month}/{day}/{year % 100:02}", f"{day}th of {name} {year}", f"{year}/{month:02}/{day:02}",
    ])


def phone(rng: random.Random, locale: str) -> str:
    shapes = ["+1 (###) ###-####", "###-###-####", "(###) ###-####", "+44 7### ######", "0### #######", "+49 1## #######",
              "+33 6 ## ## ## ##", "+34 6## ### ###", "0##-########", "+91 ##### #####", "###.###.####", "+########### ",
              "0## ## ## ## ##", "+39 3## #######", "+55 ## 9####-####", "##########", "+81 90-####-####", "555-####"]
    return rng.choice(pool("phone", locale)) if rng.random() < 0.4 else _shape(rng, rng.choice(shapes)).strip()


def url(rng: random.Random, locale: str) -> str:
    host = f"{rng.choice(['www.', '', 'app.', 'blog.'])}{rng.choice(NICKS)}{_ascii(rng.choice(pool('last', locale)))}.{rng.choice(['com', 'net', 'org', 'io', 'de', 'co.uk'])}"
    path = rng.choice(["", "/", f"/{rng.choice(NICKS)}", f"/{rng.choice(NICKS)}/{_digits(rng, 3)}", f"/p?id={_digits(rng, 4)}",
                       f"/users/{_ascii(rng.choice(pool('first', locale)))}", f"/{_mixed(rng, 8)}", "/index.html#top"])
    return rng.choice(["https://", "https://", "http://", "" if host.startswith("www") else "https://"]) + host + path


def ip(rng: random.Random) -> str:
    if rng.random() < 0.75:
        return ".".join(str(rng.randint(1, 254)) for _ in range(4))
    parts = [f"{rng.randrange(65536):x}" for _ in range(8)]
    return ":".join(parts) if rng.random() < 0.6 else "::".join([":".join(parts[:rng.randint(1, 4)]), parts[7]])


def card(rng: random.Random) -> str:
    number = rng.choice(["4", "5", "37", "6011"]) + _digits(rng, 15)
    number = number[:16]
    glue = rng.choice(["", " ", "-"])
    return glue.join(number[i : i + 4] for i in range(0, 16, 4))


def iban(rng: random.Random) -> str:
    number = rng.choice(["DE", "FR", "ES", "IT", "NL", "PL", "GB", "PT", "AT", "BE", "SE", "CH"]) + _digits(rng, 2)
    number += _shape(rng, rng.choice(["##################", "????##############", "####################", "?????##########"]))
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4)) if rng.random() < 0.5 else number


def api_key(rng: random.Random) -> str:
    return rng.choice([
        "sk-" + _mixed(rng, 32), "ghp_" + _mixed(rng, 36), "AKIA" + _shape(rng, "*" * 16), "xoxb-" + _digits(rng, 11) + "-" + _mixed(rng, 24),
        _mixed(rng, 32, string.hexdigits.lower()), "pk_live_" + _mixed(rng, 24), "AIza" + _mixed(rng, 35), "glpat-" + _mixed(rng, 20),
        _mixed(rng, 40, string.ascii_letters + string.digits + "/+"), "SG." + _mixed(rng, 22) + "." + _mixed(rng, 30),
        "eyJhbGciOiJIUzI1NiJ9." + _mixed(rng, 24) + "." + _mixed(rng, 27), "hf_" + _mixed(rng, 34), "key-" + _mixed(rng, 32, "0123456789abcdef"),
    ])


SHAPES: dict[str, list[str]] = {
    "SSN": ["###-##-####", "###-##-####", "### ## ####", "#########"],
    "BANK_ACCOUNT": ["########", "##########", "############", "##-##-##", "### ### ###", "####-####-##"],
    "CVV": ["###", "###", "####"],
    "DRIVER_LICENSE": ["?###-####-####", "########", "?#######", "??######", "?????######??#??", "?##-##-####", "####?###"],
    "LICENSE_PLATE": ["???-####", "??## ???", "?-?? ####", "## ??? ##", "???###", "#???###", "?? ### ??", "??-###-??", "??? ####", "####-???"],
    "MEDICAL_ID": ["MRN-#######", "########", "???#########", "H#######", "#### ### ###", "PAT######", "###-###-####", "?#########"],
    "NATIONAL_ID": ["########?", "###.###.###-##", "?######(#)", "###########", "?? ## ## ## ?", "######-####", "##.###.###-#", "#### #### ####", "??####??#"],
    "PASSPORT": ["?########", "#########", "??#######", "?##??####", "?#######", "C#?##?###", "?##??#####", "??######", "## ## ######", "???######", "?#### ####"],
    "MAC_ADDRESS": [],
    "CRYPTO_WALLET": [],
}


def value(label: str, rng: random.Random, locale: str) -> str:
    """A made-up value of one entity label."""
    if label == "PERSON":
        return person(rng, locale)
    if label == "USERNAME":
        return username(rng, locale)
    if label == "EMAIL":
        return email(rng, locale)
    if label == "PASSWORD":
        return password(rng)
    if label in ("DATE", "DATE_OF_BIRTH"):
        return date(rng)
    if label == "PHONE":
        return phone(rng, locale)
    if label == "URL":
        return url(rng, locale)
    if label == "IP_ADDRESS":
        return ip(rng)
    if label == "CREDIT_CARD":
        return card(rng)
    if label == "IBAN":
        return iban(rng)
    if label == "API_KEY":
        return api_key(rng)
    if label == "AGE":
        return str(rng.randint(3, 98))
    if label == "MAC_ADDRESS":
        glue = rng.choice([":", "-"])
        text = glue.join(f"{rng.randrange(256):02x}" for _ in range(6))
        return text.upper() if rng.random() < 0.5 else text
    if label == "CRYPTO_WALLET":
        base58 = string.digits[1:] + "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
        return rng.choice(["0x" + _mixed(rng, 40, "0123456789abcdefABCDEF"), rng.choice("13") + _mixed(rng, 33, base58),
                           "bc1q" + _mixed(rng, 38, string.digits + "acdefghjklmnpqrstuvwxyz"), "T" + _mixed(rng, 33, base58)])
    if label == "ADDRESS":
        return rng.choice(pool(rng.choice(["address", "street"]), locale))
    if label == "ZIP_CODE":
        return rng.choice(pool("zip", locale))
    if label == "LOCATION":
        return rng.choice(CITIES) if rng.random() < 0.45 else rng.choice(pool(rng.choice(["city", "city", "country"]), locale))
    if label == "ORGANIZATION":
        return rng.choice(COMPANIES) if rng.random() < 0.45 else rng.choice(pool("company", locale))
    return _shape(rng, rng.choice(SHAPES[label]))
