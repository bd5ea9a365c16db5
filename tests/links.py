"""Try the links of the chapter and write into tests/chapter.csv which of them answer, with the date: python tests/links.py"""
import csv
import datetime
import urllib.error
import urllib.request
from pathlib import Path

TABLE = Path(__file__).parent/'chapter.csv'


def answer(url: str) -> str:
    "What the address answers: `answers`, or the error, with today's date."
    request = urllib.request.Request(url, headers={'User-Agent': 'Mozilla/5.0'})
    try:
        with urllib.request.urlopen(request, timeout=20): said = 'answers'
    except urllib.error.HTTPError as error: said = f'error {error.code}'
    except (OSError, ValueError): said = 'no answer'
    return f'{said} ({datetime.date.today()})'


def main():
    with open(TABLE, newline='', encoding='utf-8') as file: rows = list(csv.DictReader(file))
    for row in rows: row['answered'] = '; '.join(answer(url) for url in row['links'].split())
    with open(TABLE, 'w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == '__main__':
    main()
