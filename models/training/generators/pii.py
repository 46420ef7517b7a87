"""Texts with personal data in known places, and texts full of numbers and names that are none."""

from __future__ import annotations

import random
import re

from . import benign, carriers
from .grammar import expand, pick
from .values import CITIES, LOCALES, value

Span = tuple[int, int, str]
SLOT = re.compile(r"\{([A-Z_]+)\}")

TEMPLATES = [
    # people, contact
    "My name is {PERSON} and my e-mail is {EMAIL}", "Hi, I'm {PERSON}. Call me on {PHONE} after six.",
    "Please contact {PERSON} ({EMAIL}, {PHONE}).", "{PERSON} lives at {ADDRESS}.", "Send it to {PERSON}, {ADDRESS}.",
    "I live in {LOCATION} and work for {ORGANIZATION}.", "{PERSON} joined {ORGANIZATION} as head of sales in {LOCATION}.",
    "Yesterday {PERSON} and {PERSON} flew from {LOCATION} to {LOCATION}.", "Dear {PERSON},\nthank you for your order.",
    "Best regards,\n{PERSON}\n{ORGANIZATION}\n{PHONE}", "Thanks, {PERSON}", "cc {PERSON} and {PERSON} from {ORGANIZATION}",
    "My husband {PERSON} is {AGE} years old.", "{PERSON}, {AGE}, from {LOCATION}, said it was a shock.",
    "The patient, a {AGE}-year-old man from {LOCATION}, was admitted on {DATE}.", "our daughter {PERSON} turns {AGE} on {DATE}",
    "{PERSON} was born on {DATE_OF_BIRTH} in {LOCATION}.", "Name: {PERSON}\nDOB: {DATE_OF_BIRTH}\nAddress: {ADDRESS}\nPhone: {PHONE}",
    "date of birth {DATE_OF_BIRTH}, nationality unknown", "Geburtsdatum: {DATE_OF_BIRTH}", "née le {DATE_OF_BIRTH} à {LOCATION}",
    "birthday is {DATE_OF_BIRTH}, he is {AGE} now", "DOB {DATE_OF_BIRTH} SSN {SSN}", "nací el {DATE_OF_BIRTH} en {LOCATION}",
    "Ich heiße {PERSON} und wohne in {LOCATION}, {ADDRESS}.", "Je m'appelle {PERSON}, mon numéro est le {PHONE}.",
    "Me llamo {PERSON} y vivo en {ADDRESS}.", "Mi chiamo {PERSON}, la mia mail è {EMAIL}.", "Meu nome é {PERSON}, moro em {LOCATION}.",
    "Nazywam się {PERSON}, mój telefon to {PHONE}.", "Mijn naam is {PERSON}, ik woon op {ADDRESS}.", "Jag heter {PERSON} och bor i {LOCATION}.",
    "Меня зовут {PERSON}, мой телефон {PHONE}.", "私の名前は{PERSON}です。電話は{PHONE}です。", "我叫{PERSON}，邮箱是{EMAIL}。",
    "Sehr geehrter Herr {PERSON}, Ihre Adresse {ADDRESS} wurde geändert.", "Bonjour {PERSON}, votre colis part de {LOCATION}.",
    "{PERSON}: where are you?\n{PERSON}: at the office of {ORGANIZATION}", "hey {PERSON} its {PERSON}, txt me at {PHONE}",
    "reach me under {PHONE} or {EMAIL}", "fax {PHONE}, web {URL}", "see {URL} for the profile of {PERSON}",
    "Ms. {PERSON} of {ORGANIZATION} will speak at the conference in {LOCATION} on {DATE}.", "Dr. {PERSON} moved her practice to {ADDRESS}.",
    "Professor {PERSON} teaches at {ORGANIZATION}.", "Interview with {PERSON}, founder of {ORGANIZATION}, by {PERSON}",
    "RT @someone: {PERSON} is in {LOCATION} today!!", "lol {PERSON} just left {ORGANIZATION} {URL}", "can't believe {PERSON} beat {PERSON} in {LOCATION}",
    "happy bday {PERSON} love u", "{ORGANIZATION} opens a new store in {LOCATION}", "watching {PERSON} on tv with {PERSON}",
    "{ORGANIZATION} sued {ORGANIZATION} over a patent.", "The mayor of {LOCATION}, {PERSON}, met workers of {ORGANIZATION}.",
    "{PERSON} (born {DATE_OF_BIRTH}) is a painter from {LOCATION}.", "After the war, {PERSON} studied at {ORGANIZATION} in {LOCATION}.",
    "Flights from {LOCATION} to {LOCATION} were cancelled.", "Police in {LOCATION} are looking for {PERSON}.",
    "{PERSON} scored twice as {ORGANIZATION} beat {ORGANIZATION} in {LOCATION}.", "{ORGANIZATION} said on {DATE} that {PERSON} will step down.",
    "This agreement is made on {DATE} between {ORGANIZATION} and {PERSON}.", "Notices shall be sent to {ORGANIZATION}, {ADDRESS}, attention {PERSON}.",
    "He grew up in {LOCATION}, {LOCATION}, and moved to {LOCATION} in 1987.", "{LOCATION} is a village near {LOCATION} and {LOCATION}.", "The band toured {LOCATION}, {LOCATION} and {LOCATION}.",
    "{PERSON}, {PERSON} and {PERSON} wrote the book.", "It was published by {ORGANIZATION} and reviewed in {ORGANIZATION}.", "{ORGANIZATION} is based in {LOCATION}.", "the river flows from {LOCATION} to {LOCATION}",
    "He played for {ORGANIZATION} and later for {ORGANIZATION} as a goalkeeper.", "A spokesman for {ORGANIZATION}, {PERSON}, declined to comment.", "{PERSON} directed the film, which stars {PERSON} and {PERSON}.",
    "The album was recorded in {LOCATION} with producer {PERSON}.", "According to {ORGANIZATION}, snow is expected in {LOCATION} tonight.", "{PERSON} graduated from {ORGANIZATION} and founded {ORGANIZATION}.",
    "omg {PERSON} is so good in this, way better than {PERSON}", "going to {LOCATION} this weekend, who's in?", "stuck at {LOCATION} again, thanks {ORGANIZATION}", "{ORGANIZATION} vs {ORGANIZATION} tonight!!!",
    "The station serves {LOCATION}, a suburb of {LOCATION} in southern {LOCATION}.", "Judge {PERSON} ruled against {ORGANIZATION}.", "President {PERSON} visited {LOCATION}.", "St {PERSON} was a bishop in {LOCATION}.",
    # addresses
    "Ship to: {ADDRESS}", "Our new office is at {ADDRESS}, near the station.", "deliver to {ADDRESS}, ring twice", "Adresse: {ADDRESS}",
    "the flat at {ADDRESS} is for rent", "Zip {ZIP_CODE}, city {LOCATION}", "postcode {ZIP_CODE}", "{LOCATION}, {ZIP_CODE}", "PLZ {ZIP_CODE}",
    "pick me up at {ADDRESS} around eight", "{PERSON}\n{ADDRESS}\n{PHONE}", "my address changed from {ADDRESS} to {ADDRESS}",
    "street: {ADDRESS}; zip: {ZIP_CODE}; city: {LOCATION}", "billing address {ADDRESS}, card {CREDIT_CARD}", "she moved to {ADDRESS} in 2019",
    # accounts and secrets
    "my password is {PASSWORD}", "the password for {USERNAME} is {PASSWORD}", "login: {USERNAME}\npassword: {PASSWORD}", "pwd={PASSWORD}",
    "user {USERNAME} / pass {PASSWORD}", "I tried {PASSWORD} but it says wrong password", "Wi-Fi password: {PASSWORD}", "Passwort: {PASSWORD}",
    "mot de passe : {PASSWORD}", "contraseña: {PASSWORD}", "new passphrase \"{PASSWORD}\" set by {USERNAME}", "{\"username\": \"{USERNAME}\", \"password\": \"{PASSWORD}\"}",
    "sshpass -p '{PASSWORD}' ssh {USERNAME}@{IP_ADDRESS}", "mysql -u {USERNAME} -p{PASSWORD} -h {IP_ADDRESS}", "https://{USERNAME}:{PASSWORD}@git.example.com/repo.git",
    "my username is {USERNAME}", "follow me, I am {USERNAME} on Instagram", "user {USERNAME} logged in from {IP_ADDRESS}", "add {USERNAME} on Discord",
    "commit by {USERNAME} <{EMAIL}>", "reddit user {USERNAME} posted {URL}", "Benutzername {USERNAME}", "{USERNAME} is my handle there",
    "your login name is {USERNAME} and your temporary password is {PASSWORD}", "Account {USERNAME} was locked after three attempts.",
    "export OPENAI_API_KEY={API_KEY}", "Authorization: Bearer {API_KEY}", "the key {API_KEY} leaked on GitHub", "token: {API_KEY}", "api_key={API_KEY}&user={USERNAME}",
    "aws_secret_access_key = {API_KEY}", "curl -H 'X-Api-Key: {API_KEY}' {URL}", "please rotate {API_KEY} today", "client_secret: \"{API_KEY}\"",
    # money
    "card number {CREDIT_CARD}, CVV {CVV}", "pay with {CREDIT_CARD} exp 09/27 cvc {CVV}", "Visa {CREDIT_CARD} in the name of {PERSON}", "security code {CVV}",
    "my credit card {CREDIT_CARD} was stolen", "charge {CREDIT_CARD} please, the three digits are {CVV}", "IBAN {IBAN}", "please wire it to {IBAN}, account holder {PERSON}",
    "Kontonummer {BANK_ACCOUNT}, IBAN {IBAN}", "account no. {BANK_ACCOUNT} at {ORGANIZATION}", "routing number and account {BANK_ACCOUNT}", "checking account {BANK_ACCOUNT}",
    "my bank account number is {BANK_ACCOUNT}", "sort code {BANK_ACCOUNT}, account {BANK_ACCOUNT}", "direct deposit to acct {BANK_ACCOUNT}", "savings account #{BANK_ACCOUNT} of {PERSON}",
    "BTC wallet {CRYPTO_WALLET}", "my ETH address: {CRYPTO_WALLET}", "donations to {CRYPTO_WALLET}", "transfer the coins to wallet {CRYPTO_WALLET} before {DATE}", "USDT (TRC20): {CRYPTO_WALLET}",
    "tx from {CRYPTO_WALLET} to {CRYPTO_WALLET}", "{\"wallet\": \"{CRYPTO_WALLET}\"}",
    # identity papers
    "SSN {SSN}", "my social is {SSN}", "social security number: {SSN}", "{PERSON}, SSN {SSN}, applied for a loan", "last name {PERSON}, social security no. {SSN}",
    "passport no. {PASSPORT}", "Passport number {PASSPORT}, issued {DATE}", "travel document {PASSPORT} of {PERSON}", "Reisepass {PASSPORT}", "my passport is {PASSPORT}",
    "driver's license {DRIVER_LICENSE}", "driving licence number {DRIVER_LICENSE}", "license no: {DRIVER_LICENSE}, state TX", "Führerschein {DRIVER_LICENSE}", "DL {DRIVER_LICENSE} belongs to {PERSON}",
    "license plate {LICENSE_PLATE}", "a red car with plate {LICENSE_PLATE}", "Kennzeichen {LICENSE_PLATE}", "parked: {LICENSE_PLATE}", "the vehicle {LICENSE_PLATE} was seen in {LOCATION}", "plate number {LICENSE_PLATE}, owner {PERSON}",
    "ID card number {NATIONAL_ID}", "national ID {NATIONAL_ID}", "my DNI is {NATIONAL_ID}", "CPF {NATIONAL_ID}", "personal identification number {NATIONAL_ID}", "PESEL: {NATIONAL_ID}", "Aadhaar {NATIONAL_ID}", "codice fiscale {NATIONAL_ID}", "identity number {NATIONAL_ID} of {PERSON}",
    "medical record number {MEDICAL_ID}", "MRN {MEDICAL_ID}", "patient ID {MEDICAL_ID}, {PERSON}", "health insurance number {MEDICAL_ID}", "NHS number {MEDICAL_ID}", "Medicare ID {MEDICAL_ID}", "insurance policy member {MEDICAL_ID}", "Krankenversicherungsnummer {MEDICAL_ID}", "chart {MEDICAL_ID}: patient {PERSON}, DOB {DATE_OF_BIRTH}",
    # machines
    "server {IP_ADDRESS} is down", "ping {IP_ADDRESS}", "{IP_ADDRESS} - - GET /index.html 200", "connection from {IP_ADDRESS} refused", "client_ip={IP_ADDRESS} user={USERNAME}", "my IP is {IP_ADDRESS}",
    "MAC {MAC_ADDRESS}", "device {MAC_ADDRESS} got {IP_ADDRESS}", "wlan0 {MAC_ADDRESS}", "printer with hardware address {MAC_ADDRESS}", "ether {MAC_ADDRESS} txqueuelen 1000",
    # dates
    "The meeting is on {DATE}.", "due {DATE}", "Invoice date: {DATE}", "valid until {DATE}", "I booked a table for {DATE}", "appointment on {DATE} at {ORGANIZATION}", "The contract was signed on {DATE}.",
    # records
    "{\"name\": \"{PERSON}\", \"email\": \"{EMAIL}\", \"city\": \"{LOCATION}\"}", "{\"customer\": {\"first_name\": \"{PERSON}\", \"phone\": \"{PHONE}\", \"address\": \"{ADDRESS}\"}}",
    "name;mail;born\n{PERSON};{EMAIL};{DATE_OF_BIRTH}\n{PERSON};{EMAIL};{DATE_OF_BIRTH}", "{PERSON}\t{EMAIL}\t{PHONE}", "| {PERSON} | {ORGANIZATION} | {PHONE} |", "id=7 name={PERSON} ip={IP_ADDRESS}",
    "<name>{PERSON}</name><dob>{DATE_OF_BIRTH}</dob>", "INSERT INTO users VALUES ('{PERSON}', '{EMAIL}', '{PASSWORD}');", "From: {PERSON} <{EMAIL}>\nTo: {PERSON} <{EMAIL}>", "INFO login user={USERNAME} ip={IP_ADDRESS} agent=curl",
    "BEGIN:VCARD\nFN:{PERSON}\nORG:{ORGANIZATION}\nTEL:{PHONE}\nEMAIL:{EMAIL}\nEND:VCARD", "author = \"{PERSON} <{EMAIL}>\"", "contact_email: {EMAIL}\ncontact_phone: {PHONE}", "employee: {PERSON}; employer: {ORGANIZATION}; site: {LOCATION}",
    "write a birthday card for {PERSON} who turns {AGE}", "draft a letter to {PERSON} at {ADDRESS} about the rent", "who is {PERSON} from {ORGANIZATION}?", "is {PHONE} a scam number?", "what do you know about {PERSON}, {ADDRESS}?", "translate: {PERSON} arrives in {LOCATION} on {DATE}",
    # papers and accounts in other layouts
    "Passport: {PASSPORT}", "passport no {PASSPORT} expires {DATE}", "{\"passport_number\": \"{PASSPORT}\", \"name\": \"{PERSON}\"}", "{\"document\": \"passport\", \"number\": \"{PASSPORT}\"}", "passport_no={PASSPORT}&dob={DATE_OF_BIRTH}",
    "My passport number's {PASSPORT}, do you need the expiry date too?", "check-in for {PERSON} with passport {PASSPORT}, seat 14C", "{PERSON} ({PASSPORT}) crossed the border on {DATE}", "Passeport n° {PASSPORT} délivré à {LOCATION}", "Pasaporte {PASSPORT}, {PERSON}",
    "The consulate lost my passport ({PASSPORT}).", "Traveller: {PERSON}, DOB: {DATE_OF_BIRTH}, PP: {PASSPORT}", "<passport>{PASSPORT}</passport>", "Type P, No. {PASSPORT}, surname {PERSON}", "numero di passaporto: {PASSPORT}", "hotel registration: guest {PERSON}, travel document no. {PASSPORT}",
    "I need to change the passport on my booking from {PASSPORT} to {PASSPORT}", "passport | {PASSPORT} | {DATE}", "Reisepassnummer: {PASSPORT}, ausgestellt am {DATE}", "is passport {PASSPORT} still valid?", "Document number {PASSPORT} (passport), holder {PERSON}",
    "driver_license: \"{DRIVER_LICENSE}\"", "rental car: {PERSON}, licence {DRIVER_LICENSE}, card {CREDIT_CARD}", "permis de conduire {DRIVER_LICENSE}", "he showed his driving licence, {DRIVER_LICENSE}", "DL#{DRIVER_LICENSE} exp 2029",
    "password '{PASSWORD}' for {USERNAME}", "Password=\"{PASSWORD}\";", "pw: `{PASSWORD}`", "the pass is ({PASSWORD}), don't share it", "it's \"{PASSWORD}\", all lower case except the first letter", "DB_PASS='{PASSWORD}'", "postgres://{USERNAME}:{PASSWORD}@{IP_ADDRESS}:5432/app",
    "password for the router: '{PASSWORD}'", "$ export PGPASSWORD='{PASSWORD}'", "smb://{USERNAME}:{PASSWORD}@fileserver/share", "please change '{PASSWORD}' to '{PASSWORD}'", "he uses {PASSWORD} everywhere", "<password>{PASSWORD}</password>", "curl -u '{USERNAME}:{PASSWORD}' {URL}",
    "identified by '{PASSWORD}'", "wpa_passphrase={PASSWORD}", "try {PASSWORD} or {PASSWORD}, one of them opens the safe", "credentials: {USERNAME} / {PASSWORD}", "{USERNAME}:{PASSWORD}", "user={USERNAME};pwd={PASSWORD};", "spring.datasource.password={PASSWORD}", "--password '{PASSWORD}' --user {USERNAME}",
    "passcode [{PASSWORD}]", "Initial login {USERNAME}, password \"{PASSWORD}\" (change it)", "the old one was '{PASSWORD}'; it stopped working", "auth: ['{USERNAME}', '{PASSWORD}']", "ftp {USERNAME} {PASSWORD}", "ansible_password: '{PASSWORD}'", "setPassword(\"{PASSWORD}\")",
    "ssh {USERNAME}@{IP_ADDRESS}", "/home/{USERNAME}/.ssh/config", "C:\\Users\\{USERNAME}\\Desktop", "assigned to {USERNAME}, reported by {USERNAME}", "<{USERNAME}> anyone here? <{USERNAME}> yes", "chown {USERNAME} /srv/data",
    "twitter.com/{USERNAME}", "github.com/{USERNAME}/tools", "the user {USERNAME} was deleted", "u/{USERNAME} wrote:", "sudo -u {USERNAME} whoami", "Accepted publickey for {USERNAME} from {IP_ADDRESS} port 50022", "{USERNAME} joined the channel", "{USERNAME}: gg\n{USERNAME}: wp", "PR by {USERNAME}",
    "my gamertag is {USERNAME}", "find me as {USERNAME} on Steam", "insta: {USERNAME}, snap: {USERNAME}", "lock account {USERNAME} at once", "{\"login\": \"{USERNAME}\", \"id\": 7}", "last login of {USERNAME}: {DATE}", "FAILED su for root by {USERNAME}", "nick {USERNAME} is taken", "uid=1001({USERNAME})",
    "screen name {USERNAME}", "{USERNAME} (ip {IP_ADDRESS}) edited the page", "invite {USERNAME} to the team", "session opened for user {USERNAME}", "author: {USERNAME}", "PSN ID {USERNAME}, add me", "Who is {USERNAME} on this server?", "owner={USERNAME} group=staff",
    # how people write online
    "just saw {PERSON} at {LOCATION} lol", "so {ORGANIZATION} fired {PERSON} today, wow", "{PERSON} > {PERSON} and I will die on this hill", "anyone else in {LOCATION} without power??", "shout out to {PERSON} and the whole {ORGANIZATION} team",
    "RIP {PERSON}, you were the best", "new video from {PERSON} is out", "back in {LOCATION} after ten years", "{ORGANIZATION} support is useless, three hours on hold", "great win for {ORGANIZATION} against {ORGANIZATION}", "listening to {PERSON} on repeat",
    "my flight with {ORGANIZATION} to {LOCATION} got cancelled again", "Does anyone know if {ORGANIZATION} ships to {LOCATION}?", "{PERSON} was on {ORGANIZATION} last night", "I bought it from {ORGANIZATION} and it broke", "good luck to {ORGANIZATION} this season",
    "{ORGANIZATION} shares fell after {PERSON} left", "via {ORGANIZATION}: storm hits {LOCATION}", "thanks {PERSON} for the follow", "{LOCATION} is so pretty in autumn", "I used to work at {ORGANIZATION} in {LOCATION}", "{PERSON} for president", "who's going to the {ORGANIZATION} game in {LOCATION}?",
    "{PERSON} explains this much better than my teacher", "Greetings from {LOCATION}!", "{ORGANIZATION} and {ORGANIZATION} announced a merger", "a statement by {ORGANIZATION} said {PERSON} had resigned", "my cousin {PERSON} plays for {ORGANIZATION}", "the {ORGANIZATION} office in {LOCATION} is closing",
    "{ORGANIZATION} reports from {LOCATION}", "{PERSON} signs for {ORGANIZATION}", "{ORGANIZATION} coach {PERSON} was not happy", "{LOCATION} police and {ORGANIZATION} found nothing", "study from {ORGANIZATION} finds coffee is fine", "{ORGANIZATION}'s {PERSON} on why rates will rise", "job at {ORGANIZATION}, {LOCATION}: apply now",
    "Comment by {PERSON}: the map of {LOCATION} is wrong", "{PERSON} answered this on {ORGANIZATION}'s forum", "as {PERSON} said in {LOCATION}, never again", "{PERSON} vs. {PERSON}, who wins?", "the {ORGANIZATION} won by two goals", "{LOCATION} > {LOCATION}", "#{ORGANIZATION} fans, where are you?",
]

NEGATIVES = [
    "The British author likes badminton and lacrosse.", "She speaks German, French and a little Russian.", "Many Christians and Muslims celebrate in spring.", "He won the gold medal at the Olympic Games.",
    "The hockey club was founded before the war.", "It is located on a high hill in the north of the city.", "An American audio magazine praised the sound.", "The album was the twentieth release of the group.",
    "Protestantism and Judaism were discussed at length.", "The railway was closed and the bridge was sold.", "In the second season the team lost every game.", "The institute and the department moved to the new building.",
    "Which museums should one see in {place}?", "What is the capital of {place}?", "How many people live in {place}?", "What language do they speak in {place}?", "Who painted the Mona Lisa?",
    "What is the highest mountain in {place}?", "Is it warm in {place} in May?", "Tell me a fun fact about {place}.", "When did the war end?", "How far is the moon from the earth?",
    "The cluster runs in us-east-1 and eu-west-2.", "Our bank, the school and the hospital are closed on Sunday.", "Ask the teacher, the doctor or the lawyer.",
    "We store backups in S3 and run the service on EKS.", "Upgrade Kubernetes to v1.29.3 and Redis to 7.2.", "Order {num} has {n} items and costs ${n}.99.", "Error code 0x{num} in module {n}.", "The build took {n} seconds, {num} tests passed.",
    "EC2, RDS and Lambda are services; IAM is for roles.", "Python 3.11.{n} was released.", "Ticket #{num} is closed.", "SKU {num}-{n} is out of stock.", "Room {n}, floor 3, seat {n}B.", "pi is 3.14159 and e is 2.71828",
    "Tracking number {num}{num} shows no movement.", "The phone has {n} GB of RAM and a {num} mAh battery.", "ISBN 978-3-16-{num}-0", "commit 9fceb02d{num} fixes the parser", "chapter {n}, page {num}", "Flight LH{num} leaves from gate {n}.",
    "The password must have at least {n} characters.", "Enter your username and password to continue.", "Please provide your date of birth and address.", "I forgot my password.", "Never share your credit card number by e-mail.", "Your e-mail address is required.",
    "What is an IBAN?", "How do I find my IP address?", "Where can I renew my passport?", "The doctor will see you now.", "Dear customer, dear Sir or Madam,", "Hello team, good morning everyone!", "The teacher asked the student a question.",
    "version: 2.{n}.{n}", "port {num}, timeout {n} ms", "x = {n}; y = {num} * x", "GPU: A100, CPU: EPYC 9{num}", "model GPT-4 and BERT were compared", "Chapter {n} explains Newton's laws.", "Windows 11 and Ubuntu 22.04 are supported.",
    "at {n}:30 we start with agenda item {n}", "Temperature {n} °C, humidity {n} %", "the score was {n} to {n}", "add {n} g of flour and {n} eggs", "RFC {num} and ISO {num} apply", "Docker image nginx:1.{n}-alpine", "uuid 729bdfc1-e025-478c-a4cb-51c1b50{num}",
    "see section {n}.{n} of the manual", "The discount code SAVE{n} expires soon.", "Batch {num} passed quality control.", "My robot vacuum is called Dusty.", "Macbeth is a play; Emma is a novel.", "Mercury, Venus and Mars are planets.",
    "my new iPhone is already broken", "playing Halo on my Xbox all night", "who else is watching Game of Thrones?", "Breaking Bad is the best show ever", "just finished Call of Duty", "the Galaxy S9 has a better camera than the Pixel",
    "Happy Easter everyone!", "Merry Christmas and a happy New Year", "can't wait for Friday", "it's Monday again, I need coffee", "Star Wars marathon tonight", "lol that was so funny omg", "my PlayStation stopped working after the update",
    "I love this song so much", "good morning world", "Is it just me or is the Wi-Fi slow?", "Mom and Dad are coming over", "the Bible says so", "RT if you agree", "this video has {num} views", "thanks for the tutorial, it helped a lot",
    "How do I sort a list in Python?", "Use a HashMap instead of an ArrayList", "JSON is easier to read than XML", "my grandma makes the best pie", "The king and the queen met the prime minister.", "I have an interview tomorrow, wish me luck", "The Beatles are overrated",
    "Minecraft is better on PC", "selling my old MacBook for {num}", "Windows update again...", "the Ubuntu installer hangs at {n} percent", "nobody reads the Terms of Service", "Harry Potter was my first book", "I passed my driving test!!!", "Passport photos are ugly.", "Where do I enter the passport number?",
    "Choose a user name and a strong password.", "The password field is empty.", "user not found", "wrong password, try again", "a driver's license is required", "the quick brown fox", "Ramadan starts soon", "Bitcoin is down {n} percent",
]


FIELDS: dict[str, list[str]] = {
    "PERSON": ["Name", "Full name", "Customer", "Holder", "Patient", "Contact", "Nom", "Nombre", "Imię i nazwisko", "Nome", "Owner", "Employee"],
    "ADDRESS": ["Address", "Street", "Adresse", "Dirección", "Indirizzo", "Ship to", "Billing address", "Home", "Anschrift", "Adres"],
    "LOCATION": ["City", "Country", "Town", "Ort", "Ville", "Ciudad", "Place of birth", "State", "Region"],
    "ZIP_CODE": ["Zip", "Postcode", "Postal code", "PLZ", "Code postal", "CAP"],
    "PHONE": ["Phone", "Tel", "Mobile", "Fax", "Telefon", "Tél.", "Teléfono", "Cell"],
    "EMAIL": ["E-mail", "Email", "Mail", "Courriel", "Correo", "Contact mail"],
    "DATE_OF_BIRTH": ["DOB", "Date of birth", "Born", "Geboren", "Né(e) le", "Fecha de nacimiento", "Birthday", "Birth date"],
    "ORGANIZATION": ["Company", "Employer", "Bank", "School", "Organisation", "Firma", "Entreprise", "Vendor"],
    "USERNAME": ["User", "Username", "user_name", "login_name", "Screen name", "GitHub", "Skype", "Author", "Assignee", "Login", "Handle", "Benutzer", "Account", "Nickname", "X-User"],
    "PASSWORD": ["Password", "Pass", "Passwort", "Mot de passe", "Contraseña", "Pwd", "passphrase", "PW", "db_password", "Wi-Fi key"],
    "IBAN": ["IBAN", "Account (IBAN)", "Pay to", "Konto"], "CREDIT_CARD": ["Card", "Card number", "Visa", "Mastercard", "Kreditkarte"],
    "CVV": ["CVV", "CVC", "Security code"], "SSN": ["SSN", "Social security number", "Social"], "PASSPORT": ["Passport", "Passport no.", "Reisepass", "Passeport", "Passport number", "passport_number", "Travel document", "Pasaporte", "Passport #"],
    "NATIONAL_ID": ["National ID", "ID number", "PESEL", "DNI", "NIE", "CPF", "Personnummer", "BSN", "Tax ID", "Ausweisnummer"],
    "DRIVER_LICENSE": ["Driver license", "Licence no.", "DL", "Permis"], "LICENSE_PLATE": ["Plate", "Vehicle", "Kennzeichen", "Registration"],
    "MEDICAL_ID": ["MRN", "Patient ID", "Insurance no.", "Health card", "Member ID"], "BANK_ACCOUNT": ["Account", "Account no.", "Kontonummer", "Sort code"],
    "IP_ADDRESS": ["IP", "Client", "X-Forwarded-For", "Host", "Remote"], "MAC_ADDRESS": ["MAC", "Device", "Ethernet"], "URL": ["Website", "Link", "Web", "Profile"],
    "API_KEY": ["Token", "API key", "Secret", "Authorization: Bearer", "Key"], "CRYPTO_WALLET": ["Wallet", "BTC", "ETH address"], "AGE": ["Age", "Alter", "Âge", "Edad"],
    "DATE": ["Date", "Issued", "Due", "Check-in", "Datum", "Last login"],
}
COMMON = ["PERSON"] * 5 + ["ADDRESS", "LOCATION", "PHONE", "EMAIL", "DATE_OF_BIRTH", "ORGANIZATION", "USERNAME"] * 2
EVIDENT = ["PERSON", "PERSON", "ADDRESS", "LOCATION", "PHONE", "EMAIL", "ORGANIZATION", "IBAN", "CREDIT_CARD", "IP_ADDRESS", "MAC_ADDRESS", "URL",
           "CRYPTO_WALLET", "API_KEY", "DATE_OF_BIRTH"]
"""Values that can be told without a field name."""
OTHER_FIELDS = ["Amount", "Order", "Status", "Build", "Expiry", "Ref", "Version", "Size", "Note", "Commit"]


def _plain(rng: random.Random) -> str:
    """A field value that is nobody's data."""
    digits = "0123456789abcdef"
    return rng.choice([
        f"{rng.randint(1, 9999)}.{rng.randint(0, 99):02}", str(rng.randint(10, 99999)), "".join(rng.choice(digits) for _ in range(rng.choice([7, 8, 32, 40]))),
        f"{rng.randint(1, 12):02}/{rng.randint(24, 32)}", "ok", "pending", f"v{rng.randint(0, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 9)}", "n/a", f"INV-{rng.randint(1000, 99999)}",
        f"{rng.randint(1, 900)} KB", "GET /index.html HTTP/1.1", f"TCK{rng.randint(100, 9999)}", "yes", f"{rng.randint(1, 100)}%",
    ])


def _record(rng: random.Random, locale: str) -> tuple[str, list[Span]]:
    """A form or a row of a table: any fields in any order, with any separator."""
    named = rng.random() < 0.65
    if named:
        labels = rng.sample(list(FIELDS), rng.randint(1, 4)) + rng.choices(COMMON, k=rng.randint(1, 3))
        rng.shuffle(labels)
    else:
        labels = rng.choices(EVIDENT, k=rng.randint(2, 6))
    middle = rng.choice([": ", ": ", " ", "=", " = ", " - ", ":", "\t"]) if named else ""
    glue = rng.choice(["\n", "\n", "; ", ";", ", ", " / ", " | ", "\t", ",", "\n- ", "  ", " and "])
    lower = rng.random() < 0.25
    text, spans = rng.choice(["", "", "- ", "* ", "Record: ", "| "]), []
    for i, label in enumerate(labels):
        if i:
            text += glue
        if rng.random() < 0.35:
            text += (rng.choice(OTHER_FIELDS) + middle if named else "") + _plain(rng) + glue
        if named:
            name = rng.choice(FIELDS[label])
            text += (name.lower() if lower else name) + middle
        filled = value(label, rng, locale)
        quote = rng.choice(["", "", "", "", '"', "'", "<" if label != "PASSWORD" else "`"])
        text += quote
        spans.append((len(text), len(text) + len(filled), label))
        text += filled + {"<": ">"}.get(quote, quote)
    return text + rng.choice(["", "", ".", "\n", ";", " |"]), spans


def _fill(template: str, rng: random.Random, locale: str) -> tuple[str, list[Span]]:
    text, spans, end = "", [], 0
    for match in SLOT.finditer(template):
        text += template[end : match.start()]
        filled = value(match.group(1), rng, locale)
        spans.append((len(text), len(text) + len(filled), match.group(1)))
        text += filled
        end = match.end()
    return text + template[end:], spans


def _negative(rng: random.Random, validation: bool) -> str:
    if rng.random() < 0.25:
        return benign.short(rng, validation)
    slots = {"place": CITIES, "n": [str(rng.randint(1, 99))], "num": [str(rng.randint(1000, 99999))]}
    return expand(pick(NEGATIVES, rng, validation), slots, rng)


def sample(rng: random.Random, validation: bool = False) -> tuple[str, list[Span]]:
    """One to four pieces of text, with the spans of the personal data in them."""
    glue = rng.choice([" ", "\n", ". ", "; ", "\n- ", ", ", "\n\n"])
    count = rng.choices([1, 2, 3, 4], [55, 25, 13, 7])[0]
    text, spans = "", []
    locale = rng.choice(LOCALES)
    for i in range(count):
        if i:
            text += glue
        if rng.random() < (0.14 if count == 1 else 0.3):
            text += _negative(rng, validation) if rng.random() < 0.8 else carriers.expand(
                rng.choice(["Revenue is up {n}%.", "Thanks for the great workshop!", "Prices start at ${n}."]), carriers.SLOTS, rng)
            continue
        if rng.random() < 0.35:
            piece, found = _record(rng, locale)
        else:
            piece, found = _fill(pick(TEMPLATES, rng, validation), rng, locale)
        spans += [(a + len(text), b + len(text), label) for a, b, label in found]
        text += piece
        if rng.random() < 0.2:
            locale = rng.choice(LOCALES)
    return text, spans
