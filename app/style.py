"""The little CSS that the theme in .streamlit/config.toml cannot say."""

STYLE = """<style>
.block-container {padding-top: 2.2rem; padding-bottom: 3rem; max-width: 1500px;}
[data-testid="stImage"] img {image-rendering: pixelated; border: 1px solid rgba(128,138,155,.4);}
[data-testid="stSidebarHeader"] {padding-bottom: 0; height: 2.5rem;}
[data-testid="stMetric"] {padding: .1rem 0;}
h1 {padding-top: 0 !important;}
</style>"""
