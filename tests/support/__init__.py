"""What tests share: tiny backbones, real formats in small, hostile payloads, a browser, failures on purpose."""
