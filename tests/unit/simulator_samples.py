"""The request examples of the provider's how-to pages, made valid where the pages are not."""

from __future__ import annotations

from tests.unit.simulator_box import JsonDoc

TO = "+306981234567"

# Routee's documentation: Standard Failover, with real phone numbers, and orders that are unique
HOW_TO_STANDARD: JsonDoc = {
    "flow": [
        {
            "type": "Sms",
            "from": "senderId",
            "to": TO,
            "ttl": 30,
            "message": {"body": "The sms message to be sent", "flash": True, "label": "string", "transcode": True},
            "order": 1,
            "failoverOnStatuses": ["FAILED", "UNDELIVERED"],
        },
        {
            "type": "Voice",
            "from": "ASenderId",
            "to": {"phone": "+306981234567", "viber": "", "sip": ""},
            "dialPlan": {
                "verbs": [
                    {"type": "PLAY", "repeat": 2, "fileURL": "http://www.externalharddrive.com/waves/animal/monkey.wav", "bargeIn": False},
                    {
                        "type": "SAY",
                        "repeat": 3,
                        "bargeIn": False,
                        "message": {"language": "en-US", "gender": "female", "text": "Failover Voice Dialplan"},
                    },
                ],
            },
            "machineDetection": {"strategy": "Hangup"},
            "order": 2,
            "failoverOnStatuses": ["Busy", "NoAnswer"],
        },
        {
            "type": "Viber",
            "senderInfoTrackingId": "0094d198-4dd2-4fb5-b451-d46aca191b27",
            "to": TO,
            "inboundUrl": "https://inbound.url",
            "ttl": 30,
            "expireOnDelivery": False,
            "message": {
                "text": "string",
                "imageUrl": "https://image.url",
                "action": {"caption": "Go", "targetUrl": "https://www.routee.net/"},
            },
            "order": 3,
            "failoverOnStatuses": ["EXPIRED", "FAILED", "UNDELIVERED"],
        },
    ],
    "callback": {"strategy": "OnCompletion", "url": "https://target.url"},
}

# Routee's documentation: Transactional Failover, with a template that needs no pin
HOW_TO_TRANSACTIONAL: JsonDoc = {
    "flow": [
        {
            "type": "Viber",
            "senderInfoTrackingId": "your-sender-info-tracking-id",
            "to": "+306912345678",
            "templateId": "1bbc888f-2ee2-4112-9659-1755a951966a",
            "templateLang": "en",
            "templateParams": {"customer_name": "Alex"},
            "deliveryScope": "PRIMARY_DEVICE",
            "ttl": 10,
            "order": 1,
            "failoverOnStatuses": ["EXPIRED", "FAILED", "UNDELIVERED"],
        },
        {
            "type": "Sms",
            "from": "YourBrand",
            "to": "+306912345678",
            "message": {"body": "We could not reach you on Viber."},
            "ttl": 120,
            "order": 2,
            "failoverOnStatuses": ["FAILED", "UNDELIVERED"],
        },
    ],
    "callback": {"strategy": "OnCompletion", "url": "https://your-server.com/failover-callback"},
}
