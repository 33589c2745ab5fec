# The bucket of datasets on AWS, who may write and read it, and an alarm before it becomes dear.

terraform {
  required_version = ">= 1.6"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.80"
    }
  }
}

resource "aws_s3_bucket" "datasets" {
  bucket = var.bucket
}

# Whoever overwrites the pointer to the current snapshot by mistake finds the old one.
resource "aws_s3_bucket_versioning" "datasets" {
  bucket = aws_s3_bucket.datasets.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "datasets" {
  bucket = aws_s3_bucket.datasets.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "datasets" {
  bucket                  = aws_s3_bucket.datasets.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "datasets" {
  bucket = aws_s3_bucket.datasets.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "datasets" {
  bucket = aws_s3_bucket.datasets.id

  # Parts of uploads whose process died are paid for and seen by nobody.
  rule {
    id     = "abort-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }

  # What versioning keeps of overwritten and deleted objects, snapshots removed by `coupled gc` among them.
  rule {
    id     = "expire-old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = var.keep_deleted_days
    }
    expiration {
      expired_object_delete_marker = true
    }
  }

  # Batches of unfinished shards. A run that was left for so long starts them again; readers never see them.
  dynamic "rule" {
    for_each = var.datasets
    content {
      id     = "expire-work-of-${replace(rule.value, "/", "-")}"
      status = "Enabled"
      filter {
        prefix = "${rule.value}/work/"
      }
      expiration {
        days = var.keep_work_days
      }
    }
  }
}

# Policies are files, so that a test can hold them against the calls that the code makes.
resource "aws_iam_policy" "writer" {
  name   = "${var.bucket}-writer"
  policy = templatefile("${path.module}/writer.json", { bucket = aws_s3_bucket.datasets.arn })
}

resource "aws_iam_policy" "reader" {
  name   = "${var.bucket}-reader"
  policy = templatefile("${path.module}/reader.json", { bucket = aws_s3_bucket.datasets.arn })
}

# Refuses connections without TLS, whoever makes them.
resource "aws_s3_bucket_policy" "datasets" {
  bucket     = aws_s3_bucket.datasets.id
  policy     = templatefile("${path.module}/tls.json", { bucket = aws_s3_bucket.datasets.arn })
  depends_on = [aws_s3_bucket_public_access_block.datasets]
}

resource "aws_budgets_budget" "storage" {
  name         = "${var.bucket}-storage"
  budget_type  = "COST"
  limit_amount = tostring(var.monthly_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  cost_filter {
    name   = "Service"
    values = ["Amazon Simple Storage Service"]
  }

  notification {
    comparison_operator        = "GREATER_THAN"
    threshold                  = 80
    threshold_type             = "PERCENTAGE"
    notification_type          = "FORECASTED"
    subscriber_email_addresses = var.alarm_emails
  }
}
