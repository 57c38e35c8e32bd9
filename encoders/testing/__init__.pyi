from .laws import check_encoder as check_encoder
