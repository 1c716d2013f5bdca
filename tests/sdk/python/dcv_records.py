"""Has a hostname made whose owner proves it by TXT records, with the official Python client, unmodified, and
prints the records that the client reads, as JSON.

Arguments: the API's URL, a key, a zone id, and the hostname.
"""

import json
import sys
import time

from cloudflare import Cloudflare

URL, KEY, ZONE, NAME = sys.argv[1:]

hostnames = Cloudflare(
    api_token=KEY, base_url=URL, max_retries=1, timeout=20
).custom_hostnames
created = hostnames.create(
    zone_id=ZONE, hostname=NAME, ssl={"method": "txt", "type": "dv"}
)
end = time.monotonic() + 60
while not (ssl := hostnames.get(created.id, zone_id=ZONE).ssl).validation_records:
    assert time.monotonic() < end, ssl
    time.sleep(0.2)
assert ssl.method == "txt", ssl
assert ssl.status.startswith("pending_"), ssl
for record in ssl.validation_records:
    # The edges answer for files by themselves: nothing is left to the owner.
    assert record.http_url is None and record.http_body is None, record
print(
    json.dumps(
        [
            {"name": record.txt_name, "value": record.txt_value}
            for record in ssl.validation_records
        ]
    )
)
